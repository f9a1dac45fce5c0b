"""The configuration with its files, inside and outside of the store.

The user's layer is `config.yaml`; the system's (`/etc/srunx/config.json`) and the projects' (`srunx.json` in a mount or
where the server was started) lie where nothing is watched, so each question compares their stamps, off the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from store.config import config_file, layers, masks
from store.config.layers import EffectiveConfig, Layer, LayerFile, Tree
from store.config.profiles import Mount, is_on_disk
from store.disk.files import Files
from store.disk.folders import Folder, Listener, ProblemListener
from store.documents import Config, SrunxConfig
from store.errors import Conflict, Exists, NotFound, StoreUnavailable
from store.yaml.file_edits import edit_file, get_tag

SYSTEM = Path("/etc/srunx/config.json")
PROJECT = "srunx.json"
# Seconds until problems show an edit outside of the store; for jobs, edits count at once.
LOOK_S = 0.1
KEYS = frozenset(SrunxConfig.model_fields)
EXAMPLE: Tree = {
    "resources": {
        "nodes": 1, "gpus_per_node": 1, "ntasks_per_node": 1, "cpus_per_task": 8, "memory_per_node": "32GB",
        "time_limit": "2:00:00", "partition": "gpu",
    },
    "environment": {
        "conda": "ml_env",
        "container": {"image": "nvcr.io/nvidia/pytorch:24.01-py3", "runtime": "pyxis"},
        "env_vars": {"CUDA_VISIBLE_DEVICES": "0", "OMP_NUM_THREADS": "8"},
    },
    "log_dir": "slurm_logs",
    "work_dir": "/scratch/username",
}  # fmt: skip


class Configuration:
    """All layers of the configuration of one store.

    `user` is the folder with config.yaml, `project` where the server was started.
    """

    def __init__(
        self, files: Files, user: Folder, environment: Mapping[str, str], system: Path = SYSTEM, project: Path = Path()
    ) -> None:
        self.files = files
        self.user = user
        self.environment = environment
        self.from_environment = layers.from_environment(environment)
        # Of all files outside of the store, which are looked at when the configuration is asked.
        self.listeners: list[Listener] = []
        self.problem_listeners: list[ProblemListener] = []
        self.system = self._open_outside(system)
        self.started_in = project.absolute()
        self.projects: dict[Path, Folder] = {}
        self._looked_at = float("-inf")

    def _open_outside(self, path: Path) -> Folder:
        """Return a folder for one file outside of the store."""
        root = None if path.name != PROJECT else path.parent
        folder = Folder(path.parent, "file", self.files, layers.parse_layer, only=(path.name,), mount_root=root)
        folder.listeners, folder.problem_listeners = self.listeners, self.problem_listeners
        return folder

    def get_project_folder(self, root: Path | None) -> Folder:
        """Return the folder with the srunx.json of this root; None: our own."""
        root = root or self.started_in
        if root not in self.projects:
            self.projects[root] = self._open_outside(root / PROJECT)
        return self.projects[root]

    # Reading.

    def list_outside(self) -> list[Folder]:
        """List the folders outside of the store that are known by now."""
        return [self.system, *self.projects.values()]

    @property
    def is_fresh(self) -> bool:
        """Whether problems show the files outside as they are now."""
        return time.monotonic() - self._looked_at < LOOK_S

    async def resolve(self, root: Path | None = None) -> EffectiveConfig:
        """Return what counts for the mount with this root, None: for others."""
        return layers.merge_layers(await self.load_layers(root))

    async def load_layers(self, root: Path | None = None) -> list[Layer]:
        """Refresh and list the layers, the lowest first."""
        outside = (self.system, self.get_project_folder(root))
        await asyncio.gather(*(folder.refresh(folder.only) for folder in outside))
        return self.list_known_layers(root)

    def list_known_layers(self, root: Path | None = None) -> list[Layer]:
        """List the layers, with files outside of the store as last read."""
        project = build_layer("project", self.get_project_folder(root))
        return [build_layer("system", self.system), self.build_user_layer(), project, self.from_environment]

    def build_user_layer(self) -> Layer:
        """Return the layer of config.yaml."""
        entry: Config | None = self.user.get("config") if "config" in self.user else None
        tree = entry.model_dump(mode="json", include=set(KEYS), exclude_unset=True) if entry else {}
        return Layer("user", tree, str(self.user.path / "config.yaml"), problems=_list_file_problems(self.user))

    async def load_job_defaults(self, root: Path | None = None) -> Tree:
        """Return what a workflow's jobs get by default.

        Resources, environment, log_dir and work_dir.
        """
        config = (await self.resolve(root)).config
        return {key: config[key] for key in config_file.JOB_KEYS}

    def list_paths(self) -> list[dict[str, Any]]:
        """List the files of the layers: path, whether it exists, source.

        In rising precedence. Asks the disk.
        """
        system = self.system.path / self.system.only[0]
        files = {"system": system, "user": self.user.path / "config.yaml", "project": self.started_in / PROJECT}
        return [{"path": str(path), "exists": is_on_disk(path), "source": source} for source, path in files.items()]

    async def refresh_outside(self) -> None:
        """Refresh external config files, at most once per LOOK_S."""
        if self.is_fresh:
            return
        self._looked_at = time.monotonic()
        outside = self.list_outside()
        # What does not answer stays as it was last read.
        found = await asyncio.gather(*(folder.refresh(folder.only) for folder in outside), return_exceptions=True)
        for problem in found:
            if problem is not None and not isinstance(problem, StoreUnavailable):
                raise problem

    def list_problems(self, roots: Iterable[Path]) -> list[dict[str, Any]]:
        """List what was wrong outside of config.yaml at the last look.

        `roots` are those of the mounts.
        """
        outside = [self.system, *(self.get_project_folder(root) for root in [self.started_in, *roots])]
        return layers.list_problems([*(build_layer("", folder) for folder in outside), self.from_environment])

    # Writing.

    async def update(self, given: Tree, if_match: str | None = None) -> EffectiveConfig:
        """Merge the values into config.yaml; return what counts then.

        What is in force already is not written, so that a whole configuration that is sent back only writes what was
        changed in it. Raises Invalid with all that is wrong with the values.
        """
        below, now = layers.merge_layers((await self.load_layers())[:1]).config, (await self.resolve()).config
        wanted = layers.validate_tree(masks.unmask_secrets(layers.keep_known_part(given), now))

        def edit(data: bytes) -> bytes:
            kept = config_file.parse_config(data).model_dump(mode="json", exclude_unset=True) if data else {}
            changes = config_file.compute_changes(wanted, kept, now, below)
            return config_file.edit_config(data, changes)

        await edit_file(self.user, "config", edit, if_match)
        return await self.resolve()

    async def reset(self, if_match: str | None = None) -> EffectiveConfig:
        """Remove from config.yaml all that other layers may set too.

        Returns what counts then. What concerns the server itself stays.
        """
        await edit_file(self.user, "config", lambda data: config_file.edit_config(data, dict.fromkeys(KEYS)), if_match)
        return await self.resolve()

    # Projects.

    async def describe_project(self, mount: Mount) -> dict[str, Any]:
        """Return a mount's srunx.json: path, exists, config, problems if any.

        `config` is what the file says over the program's defaults, secrets masked.
        """
        folder = self.get_project_folder(mount.root)
        await folder.refresh(folder.only)
        project_layer = build_layer("project", folder)
        problems = layers.list_problems([project_layer])
        raw = folder.get("srunx").raw if "srunx" in folder else None
        known = None if raw is None else layers.add_defaults({key: raw[key] for key in raw if key in KEYS})
        more = {"problems": problems} if problems else {}
        paths = {"mount_name": mount.name, "local_path": str(mount.root), "config_path": project_layer.path}
        return {**paths, "exists": bool(folder.file_states), "config": masks.mask_secrets(known), **more}

    async def require_project_folder(self, mount: Mount) -> Folder:
        """Return the folder for a mount's srunx.json. Raises NotFound.

        NotFound when the mount's folder is not on the disk.
        """
        if not await mount.is_there():
            raise NotFound("Mount", mount.name, ": its folder is not there")
        return self.get_project_folder(mount.root)

    async def save_project(self, mount: Mount, given: Tree, if_match: str | None = None) -> dict[str, Any]:
        """Write the values to srunx.json; return the project.

        Keys of other programs are kept. A form that gives back the whole project leaves the defaults out of the file.
        """
        folder = await self.require_project_folder(mount)

        def edit(data: bytes) -> bytes:
            old = layers.parse_layer(data).raw if data else {}
            known = masks.unmask_secrets(layers.keep_known_part(given), old)
            if layers.DEFAULTS.keys() <= known.keys():
                known = layers.drop_defaults(known, old)
            wanted = layers.validate_tree(known)
            foreign = {key: value for key, value in old.items() if key not in KEYS}
            return _to_json({**foreign, **_drop_nulls(wanted)})

        await edit_file(folder, "srunx", edit, if_match)
        return await self.describe_project(mount)

    async def init_project(self, mount: Mount) -> dict[str, Any]:
        """Make srunx.json with example values; return the project.

        Raises Conflict when there is one.
        """
        try:
            await (await self.require_project_folder(mount)).create("srunx", _to_json(EXAMPLE))
        except Exists:
            raise Conflict(f"{mount.root / PROJECT} already exists") from None
        return await self.describe_project(mount)

    def get_tag(self) -> str:
        """Return what If-Match must say to change config.yaml now."""
        return get_tag(self.user, "config")

    def get_project_tag(self, root: Path) -> str:
        """Return what If-Match must say to change this srunx.json.

        As it was when it was looked at last.
        """
        return get_tag(self.get_project_folder(root), "srunx")


def build_layer(source: str, folder: Folder) -> Layer:
    """Return the layer that the one file of a folder makes.

    A file that cannot be read counts as it was before.
    """
    name = Path(folder.only[0]).stem
    content: LayerFile = folder.get(name) if name in folder else LayerFile({}, {})
    return Layer(
        source,
        content.tree,
        str(folder.path / folder.only[0]),
        problems=_list_file_problems(folder) or content.problems,
    )


def _list_file_problems(folder: Folder) -> tuple[dict[str, Any], ...]:
    """List why the file of a folder cannot be read now."""
    return tuple(
        {**problem, "since": state.since} for state in folder.file_states.values() for problem in state.problems
    )


def _to_json(value: Tree) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _drop_nulls(value: Tree) -> Tree:
    """Return the mapping without its nulls.

    A form's empty field says nothing, it does not undo lower layers.
    """
    return {
        key: _drop_nulls(item) if isinstance(item, dict) else item for key, item in value.items() if item is not None
    }
