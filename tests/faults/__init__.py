"""What can break, and the test that shows what happens then, below the file (in tests/) that it stands in.

faults/test_store_faults.py
    kill -9 at every call of a write: test_killed_at_any_call_of_a_put_and_a_delete
    any call of the disk fails: test_a_call_that_fails_leaves_the_old_file
    disk full: test_a_disk_that_is_really_full
    loss of power: test_a_loss_of_power_leaves_the_old_file_or_the_new_one
    file torn at any length: test_a_file_torn_at_any_length_costs_only_itself
    readers during writes: test_readers_never_see_half_a_file

faults/test_crash.py
    kill -9 during a run: test_kill_at_random_points

faults/test_sweep_crash.py
    kill -9 during a sweep: test_kill_at_random_points_of_a_sweep
    sbatch's answer is lost: test_submissions_without_an_answer_are_repeated_and_never_doubled

faults/test_notify_crash.py
    kill -9 around a notification: test_kill_at_random_points

soak/test_soak.py
    kill -9 under everything at once: test_nothing_goes_wrong_while_the_server_is_killed

faults/test_taken_away.py
    disk only read: test_a_disk_that_is_only_read_for_a_while
    edited file without permissions: test_a_file_that_may_not_be_read_for_a_while_stays_in_force
    server stopped and continued: test_a_server_that_was_stopped_for_a_while_goes_on

faults/test_outage.py
    embedded cluster away in a sweep: test_a_sweep_while_the_embedded_cluster_is_away
    slurmdbd away, and who asks for what it knows: test_nothing_is_made_up_while_accounting_is_away
    slurmctld, slurmdbd, munged away: test_a_sweep_while_a_daemon_is_away
    sshd away in a sweep: test_a_sweep_while_sshd_is_away

faults/test_starved.py
    descriptors run out: test_a_moment_without_descriptors
    memory runs out: test_a_moment_without_memory
    threads run out while a program starts: test_any_thread_may_be_the_last
    threads run out for polling: test_polling_outlives_a_pool_without_threads

faults/test_mount_hangs.py
    file server of a mount gone: test_all_but_the_mount_goes_on
    file server of a mount gone at the start: test_a_server_starts_and_ends_while_a_mount_hangs
    work folder that hangs: test_a_job_whose_work_folder_hangs_waits_for_it
    output of other jobs while a mount hangs: test_the_output_of_other_jobs_is_read

faults/test_store_lost.py
    store deleted, renamed, replaced: test_nothing_is_written_to_what_is_not_our_store
    two servers after that: test_two_servers_and_one_place
    a folder of the store deleted: test_a_single_folder_is_made_again
    folder of the embedded cluster deleted: test_the_folder_of_the_embedded_cluster_is_made_again
    store that cannot be reached: test_a_store_that_cannot_be_reached_says_why

faults/test_full_disk.py
    disk full in every folder of the store: test_each_folder_of_the_store_may_be_full
    work folder that cannot be made for now: test_a_run_waits_for_its_work_folder

faults/test_truth.py
    the queue has forgotten a job: test_a_job_that_the_queue_has_forgotten_is_never_submitted_again
    squeue and sacct know nothing: test_what_is_nowhere_for_a_moment_is_not_lost
    accounting tells after all: test_a_job_that_turns_up_after_all_has_its_true_end
    sbatch prints an id and fails: test_a_printed_id_is_a_job_however_sbatch_ends
    slurmctld has lost its state: test_a_cluster_that_has_lost_its_state_has_failed_what_ran
    an id is given again: test_an_id_that_is_given_again_is_another_job

faults/test_changes_from_outside.py
    node down under a job: test_a_job_that_its_node_takes_along_has_failed
    requeue by hand and by SLURM: test_a_job_that_slurm_begins_anew_goes_on_under_its_id
    scontrol update: test_what_is_changed_is_shown_and_the_job_is_still_ours
    hold and release from outside: test_a_job_of_a_run_that_is_held_and_released
    priority from outside: test_a_priority_that_is_changed

faults/test_lagging.py
    squeue does not tell of a job yet: test_what_squeue_does_not_tell_yet_is_not_lost
    squeue and sacct tell of an end late: test_an_end_that_is_told_late_is_the_true_one

faults/test_time_zones.py
    zones of server and SLURM differ: test_the_server_and_slurm_are_in_different_zones
    summer time begins or ends: test_summer_time_begins_or_ends_during_a_job

http_server/test_serving.py
    half-closed connections: test_callers_that_end_their_half_cost_nothing

store/disk/test_archive.py
    kill -9 at every call of a move: test_killed_at_any_call_of_a_move

slurm_shim/embedded/test_cluster.py
    kill -9 of the embedded cluster: test_commands_killed_at_any_moment_lose_and_double_nothing

app/transport/test_guard.py
    two servers on a store: test_two_servers_on_one_store

engine/whole/test_reports_slurm.py
    many writers of a report: test_64_reporters_of_one_job

engine/whole/remote/test_remote_restarts.py
    kill -9 and a lost connection: test_a_sweep_from_the_inbox_is_tried_again_though_server_and_connection_are_lost

slurm_shim/test_commands.py
    sbatch hangs, lies, prints garbage: test_submissions_that_fail
    sbatch prints an id and hangs: test_the_id_is_enough
    squeue prints something else: test_an_answer_of_another_form

slurm_shim/starting/test_starter.py
    kill -9 of the process that starts programs: test_what_was_under_way_when_it_died_is_uncertain
    kill -9 of the server while a program runs: test_it_ends_with_the_server_and_programs_go_on

slurm_shim/test_snapshot.py
    squeue fails: test_a_failed_query_changes_nothing_but_the_age
    accounting lags: test_not_known_to_accounting_counts_only_after_its_lag

engine/recovery/test_lost_jobs.py
    fate of a single job unknown: test_a_job_that_slurm_may_have_taken_is_a_problem_until_it_turns_up

slurm_shim/test_submissions.py
    job renamed from outside: test_whose_job_it_is

store/rules/test_runs.py
    clock steps while a retry waits: test_a_retry_waits_no_longer_than_its_delay_whatever_the_clocks_say

store/test_logs.py
    log truncated or rotated while followed: test_a_log_that_was_written_anew_is_read_from_its_beginning
    log of any length: test_a_long_log_comes_in_bounded_pieces_that_make_the_whole

store/indexes/test_reports.py
    clock set back: test_the_clock_may_be_set_back

app/operations/test_jobs_api.py
    log that is no plain file: test_a_log_that_is_no_plain_file_is_refused
    log removed: test_a_log_that_is_gone_is_empty
    pipe, link or 10 GB in place of a log that is followed: test_what_takes_the_place_of_a_log_that_is_followed

store/disk/test_watch.py
    YAML half written: test_half_a_file_is_told_and_heals
    YAML written in place, or renamed: test_a_file_made_changed_and_removed
    YAML that may not be read: test_a_file_that_may_not_be_read

app/transport/test_events.py
    idle readers of events: test_idle_readers_cost_little

app/operations/test_notifications_api.py
    webhook that hangs: test_a_receiver_that_hangs_holds_up_no_other
"""
