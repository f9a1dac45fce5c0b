"""What an API that runs its callers' scripts must get right, and the tests that hold each of it."""

from __future__ import annotations

import re

import pytest

from tests import ROOT
from tests.test_layout import SOURCES, list_imports, name_of

CHECKLIST = [  # what, and its tests: a file, and functions in it
    ("it listens on loopback only, unless there is a token that is usable", "security/test_starts.py",
     "test_it_does_not_start"),
    ("and none that does not count", "security/test_starts.py", "test_it_does_not_start_with_tokens_that_do_not_count"),
    ("over loopback only the server's own user needs no token", "app/transport/test_guard.py",
     "test_the_servers_own_user_needs_no_token"),
    ("whoever that is at the moment of the call", "store/access/test_peers.py", "test_whose_call_it_is"),
    ("and nobody who comes through a proxy", "security/test_callers.py",
     "test_who_comes_through_a_proxy_is_not_the_servers_user"),
    ("and he does where everybody is asked", "security/test_starts.py", "test_everybody_is_asked"),
    ("tokens are random, kept as hashes, compared in constant time", "store/access/test_tokens.py",
     "test_a_token_is_known_by_its_hash_only test_every_entry_is_compared_whatever_the_token"),
    ("no token gets into the log", "security/test_callers.py", "test_no_token_gets_into_the_log"),
    ("keys, tokens and secrets of clients are no substitutes for each other", "store/access/test_tokens.py",
     "test_keys_clients_and_tokens_are_no_substitutes_for_each_other"),
    ("of two credentials the first counts, also a wrong one; nonsense lets nobody in", "security/test_s9s_callers.py",
     "test_who_is_let_in test_two_keys_in_one_request_are_refused "
     "test_hostile_credentials_let_nobody_in_and_break_nothing"),
    ("tokens that are issued cannot be made up, and end with their client", "store/access/test_issued.py",
     "test_what_is_no_token_of_ours test_access_yaml_decides_at_each_call test_without_a_key_no_token_counts"),
    ("nor with a key that others know", "engine/callers/test_signing.py",
     "test_a_key_that_does_not_count_is_not_used_and_not_replaced"),
    ("secrets of clients cannot be guessed", "security/test_s9s_callers.py", "test_guesses_of_a_secret_are_limited"),
    ("a MUNGE credential counts once, for its user", "security/test_s9s_callers.py", "test_munge test_munge_for_real"),
    ("without an answer of munged for nobody", "slurm_shim/callers/test_munge.py",
     "test_no_answer_is_no_caller test_what_has_not_the_form_starts_no_program"),
    ("and few are checked at once", "engine/callers/test_munge.py",
     "test_few_programs_run_at_once_and_few_callers_wait"),
    ("a certificate counts where this server or a proxy that is known has checked it", "security/test_s9s_callers.py",
     "test_a_certificate_that_a_proxy_has_checked test_a_certificate_that_the_server_has_checked"),
    ("and its subject is told so that nobody can be taken for another", "http_server/test_tls.py",
     "test_subjects test_the_subject_of_a_certificate_says_who_calls test_behind_the_front_nobody_is_the_servers_user"),
    ("a browser's cookie is no token: scripts and other sites cannot use it", "engine/callers/test_sessions.py",
     "test_a_token_begins_a_session test_over_https_the_cookie_is_for_https test_a_cookie_of_ours_alone_counts "
     "test_pages_of_other_sites_change_nothing_with_it test_neither_cookie_nor_code_nor_token_is_written_down"),
    ("and it ends with its token, also what it has opened", "engine/callers/test_sessions.py",
     "test_a_revoked_token_ends_its_sessions test_it_outlives_the_server_and_its_token_does_not "
     "test_a_stream_ends_with_its_session test_it_ends_after_its_hours test_there_is_an_end_to_their_number"),
    ("the printed link signs in once, and cannot be guessed", "engine/callers/test_sessions.py",
     "test_the_printed_link_signs_in_once_as_the_servers_own_user test_guesses_are_limited"),
    ("where a token is needed, and is in no log that is gathered", "security/test_starts.py",
     "test_the_link_is_printed_where_a_token_is_needed"),
    ("a page loads nothing from elsewhere, and is framed by nobody", "http_server/test_pages.py",
     "test_the_page_may_load_nothing_from_elsewhere test_who_may_frame_a_page"),
    ("passwords are kept as slow hashes, and an unknown name takes as long", "store/access/yaptide/test_passwords.py",
     "test_a_password_is_known_by_its_hash_alone test_an_unknown_user_costs_the_same"),
    ("a few are checked at once, and guessing is limited before the check",
     "engine/callers/yaptide/test_password_checks.py",
     "test_few_are_checked_at_once_and_few_wait test_who_guesses_for_one_name_waits "
     "test_who_guesses_for_many_names_waits"),
    ("also over HTTP, and nobody else is locked out", "engine/callers/yaptide/test_login.py",
     "test_guesses_are_limited_for_each_name test_more_than_can_be_checked_are_sent_away"),
    ("strangers become users only where config.yaml says so", "engine/callers/yaptide/test_login.py",
     "test_where_strangers_register test_there_is_an_end_to_users test_registrations_are_limited"),
    ("and no name can be taken for another one", "store/access/yaptide/test_users.py",
     "test_which_names_there_are test_which_names_are_the_same"),
    ("the token of a login counts for its purpose alone, and cannot be made up", "store/access/yaptide/test_logins.py",
     "test_a_login_lets_in_by_two_tokens_for_two_purposes test_what_is_no_token_of_ours "
     "test_it_is_no_token_of_anything_else test_without_a_key_nobody_is_let_in"),
    ("it ends at once with a logout, another password, and its user", "engine/callers/yaptide/test_login.py",
     "test_logging_out_ends_one_login_at_once test_his_file_is_edited_by_hand test_a_login_goes_on_and_ends"),
    ("its cookie is for one API, and of use to no other site's page", "engine/callers/yaptide/test_login.py",
     "test_elsewhere_the_cookie_counts_for_nothing test_pages_of_other_sites_do_nothing "
     "test_over_https_the_cookies_are_for_https test_nothing_secret_is_written_down"),
    ("with cookies only origins that are named one by one", "store/access/test_cors.py", "test_who_may_what"),
    ("which are never the server's own user", "engine/callers/yaptide/test_login.py",
     "test_the_page_of_another_origin_is_not_the_servers_own_user "
     "test_the_page_of_another_origin_may_nothing_elsewhere"),
    ("a token of Keycloak is of its realm, for us, and signed by RS256", "store/access/yaptide/test_keycloak.py",
     "test_what_a_token_says test_how_a_token_is_signed test_which_keys_count"),
    ("and of him who logs in", "engine/callers/yaptide/test_keycloak.py",
     "test_who_does_not_log_in test_keys_are_rotated test_its_users_may_run_on_clusters_and_are_no_local_ones"),
    ("made-up tokens ask nothing of Keycloak", "engine/callers/yaptide/test_realm_keys.py",
     "test_made_up_keys_ask_seldom test_what_a_server_answers"),
    ("every path, method and websocket is closed unless the contract opens it", "app/transport/test_guard.py",
     "test_every_operation_needs_credentials test_every_other_path_and_method_needs_credentials test_websockets "
     "test_only_what_tells_nothing_is_open"),
    ("one well-formed Host that names this server", "app/transport/test_guard.py", "test_host"),
    ("nothing that decides stands there twice", "security/test_callers.py", "test_what_decides_stands_there_once"),
    ("one request is never taken for two", "security/test_server_bounds.py",
     "test_an_odd_request_is_refused_and_never_two"),
    ("no change by a page of another site", "app/transport/test_guard.py", "test_origin"),
    ("nor does it read", "security/test_callers.py", "test_other_sites_do_not_read"),
    ("JSON bodies only, never a form", "app/transport/test_requests.py", "test_media_types"),
    ("but for tokens, which changes nothing", "security/test_s9s_callers.py", "test_forms_are_for_tokens_alone"),
    ("no shell and no eval", "test_layout.py", "test_no_shell"),
    ("options are single words, names no options", "slurm_shim/test_commands.py",
     "test_sbatch_gets_single_tokens_and_the_script_on_stdin test_what_is_no_slurm_word_starts_no_program"),
    ("ssh takes no word for an option, and no unknown host key", "slurm_shim/remote/test_ssh.py",
     "test_a_field_that_is_no_word_is_refused_by_name test_a_host_key_must_be_the_known_one"),
    ("nor does rsync", "slurm_shim/remote/test_rsync.py", "test_the_words_of_a_sync test_folders_that_are_no_words"),
    ("the server's environment reaches no job", "app/operations/test_jobs_api.py",
     "test_a_job_does_not_see_the_servers_environment"),
    ("nor a program", "slurm_shim/test_commands.py",
     "test_the_server_s_environment_reaches_neither_programs_nor_jobs"),
    ("paths stay in their folder, also while it is swapped; plain files", "store/outside_files/test_mount_files.py",
     "test_every_path_is_inside_or_refused test_nothing_outside_is_read_while_it_is_swapped "
     "test_what_becomes_a_link_as_it_is_opened_is_not_read test_what_is_not_read"),
    ("a log is a plain file of the job's user", "store/test_logs.py",
     "test_only_plain_files_are_read test_a_file_of_somebody_else_is_not_read"),
    ("that the job can have written", "security/test_job_files.py",
     "test_where_a_job_s_files_may_lie test_what_stands_in_place_of_the_log test_what_a_job_names_as_its_output "
     "test_what_lies_behind_a_link_that_cannot_be_followed test_a_job_that_waits_has_no_output "
     "test_where_nobody_says_whose_job_it_was_it_is_our_own"),
    ("what is hidden in a mount is not read, and a mount is a folder of its own", "security/test_mounts.py",
     "test_what_is_hidden_is_neither_read_nor_listed test_where_a_mount_may_lie "
     "test_a_mount_around_the_store_shows_jobs_work_alone"),
    ("nothing of another user's is believed", "security/test_owners.py",
     "test_a_store_that_others_could_change_is_refused test_a_new_file_of_others_does_not_count "
     "test_a_request_of_others_never_runs"),
    ("YAML is read within bounds, as YAML 1.2", "store/yaml/test_reader.py",
     "test_refusals test_an_alias_bomb_of_300_bytes_is_refused test_more_than_a_megabyte_is_refused test_meanings"),
    ("JSON too: depth, digits, no NaN, no lone surrogates", "app/transport/test_requests.py",
     "test_bodies_that_are_refused"),
    ("no key twice", "security/test_bodies.py", "test_a_key_that_stands_twice_is_named"),
    ("templates run in a sandbox, in a child with limits", "store/rendering/test_renderer.py",
     "test_what_is_refused_says_where_and_why test_limits_end_the_rendering_and_the_next_one_works"),
    ("no Python of callers", "app/operations/test_workflows_api.py", "test_validation"),
    ("nor where a run is started", "app/operations/test_runs_api.py", "test_what_cannot_be_run"),
    ("nor in a sweep", "app/operations/test_sweeps_api.py", "test_what_is_no_sweep"),
    ("nor in a request that is a file", "engine/whole/test_inbox.py", "test_what_cannot_be_started_says_why"),
    ("webhooks reach only addresses that were checked", "engine/notify/test_webhooks.py",
     "test_what_never_leaves test_the_name_is_asked_once_and_the_checked_address_is_used"),
    ("configuration shows no secrets", "app/operations/test_config_api.py", "test_secrets_leave_masked_and_come_back"),
    ("files are their owner's alone", "app/transport/test_guard.py", "test_secrets_stay_with_their_owner"),
    ("browsers are kept strict", "app/transport/test_guard.py", "test_answers_keep_browsers_strict"),
    ("what was sent is never shown as a page", "app/operations/test_reports_api.py",
     "test_a_capture_is_whole_or_not_there"),
    ("no cell of a table is a formula", "store/indexes/test_sweeps.py", "test_a_name_that_is_a_formula"),
    ("bodies have a limit, chunked ones too", "app/transport/test_requests.py", "test_bodies_that_are_too_large"),
    ("and so have callers", "security/test_callers.py",
     "test_a_token_that_asks_too_often_waits test_another_user_who_asks_too_often_waits "
     "test_wrong_tokens_have_a_bucket_of_their_own test_who_is_refused_all_the_time_waits_for_it"),
    ("by the hour too", "security/test_s9s_callers.py",
     "test_one_too_many_waits_for_the_next_window test_who_is_unknown_has_a_rate_too"),
    ("nobody takes memory, time or connections of others before he is known", "security/test_server_bounds.py",
     "test_what_has_no_end_is_cut_off test_requests_are_not_read_while_answers_are_not test_large_heads "
     "test_who_takes_his_time_is_not_waited_for test_another_user_leaves_the_owner_connections "
     "test_programs_start_among_more_connections_than_they_may_have"),
    ("who serves as root is warned", "security/test_server_bounds.py", "test_who_serves_as_root_is_warned"),
    ("nothing that is read can be code", "security/test_checklist.py", "test_no_format_that_holds_code_is_read"),
    ("a failure tells nothing but its number", "app/transport/test_requests.py",
     "test_an_unexpected_failure_tells_nothing_but_its_id"),
    ("every change is written down, also a refused one", "app/transport/test_families.py",
     "test_the_audit_names_the_refused_operation"),
    ("without secrets", "store/disk/test_audit.py", "test_secrets_are_hidden"),
    ("a token does what its scope says, with each operation", "security/test_callers.py",
     "test_each_operation_asks_for_the_scope_of_the_contract"),
    ("and no job of another user is cancelled with less than admin", "engine/test_jobs.py",
     "test_jobs_of_other_users_are_for_administrators"),
    ("no package with a known hole", "security/test_packages.py", "test_no_older_version_is_used"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "file", "tests"), CHECKLIST, ids=[row[0] for row in CHECKLIST])
def test_each_has_its_test(what: str, file: str, tests: str) -> None:
    there = set(re.findall(r"^(?:async )?def (test_\w+)", (ROOT / "tests" / file).read_text(), re.MULTILINE))
    assert set(tests.split()) <= there, what


CODE = re.compile(r"(?<!Safe)Loader\b.*\byaml|yaml\.(C|Full|Unsafe)?Loader\b|\b(full|unsafe)_load|typ=.unsafe")


def test_no_format_that_holds_code_is_read() -> None:
    for path in SOURCES:
        assert not list_imports(path) & {"pickle", "marshal", "shelve"}, name_of(path)
        assert not CODE.search(path.read_text()), name_of(path)
