"""The configuration with its files: those of the store, and those outside of it, which are looked at when it is asked.

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
from store.config.profiles import Mount
from store.disk.files import Files
from store.disk.folders import Folder
from store.documents import Config, SrunxConfig
from store.errors import Conflict, Exists, NotFound
from store.yaml.file_edits import edit_file, get_tag

SYSTEM = Path("/etc/srunx/config.json")
PROJECT = "srunx.json"
# An edit outside of the store is told among the problems so soon; one that counts for a job is seen at once.
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
    """All layers over one store. `user` is the folder with config.yaml, `project` where the server was started."""

    def __init__(
        self, files: Files, user: Folder, environment: Mapping[str, str], system: Path = SYSTEM, project: Path = Path()
    ) -> None:
        self.files = files
        self.user = user
        self.environment = environment
        self.from_environment = layers.from_environment(environment)
        self.system = self._open_outside(system)
        self.started_in = project.absolute()
        self.projects: dict[Path, Folder] = {}
        self._looked_at = float("-inf")

    def _open_outside(self, path: Path) -> Folder:
        return Folder(path.parent, "file", self.files, layers.parse_layer, only=(path.name,))

    def get_project_folder(self, root: Path | None) -> Folder:
        """The folder in which the srunx.json of this root lies; of the server's own for None."""
        root = root or self.started_in
        if root not in self.projects:
            self.projects[root] = self._open_outside(root / PROJECT)
        return self.projects[root]

    # Reading.

    async def resolve(self, root: Path | None = None) -> EffectiveConfig:
        """What counts for the workflows of the mount with this root, or (None) for all others."""
        return layers.merge_layers(await self.load_layers(root))

    async def load_layers(self, root: Path | None = None) -> list[Layer]:
        """The layers, the lowest first."""
        project = self.get_project_folder(root)
        await asyncio.gather(*(one.refresh(one.only) for one in (self.system, project)))
        return [
            build_layer("system", self.system),
            self.build_user_layer(),
            build_layer("project", project),
            self.from_environment,
        ]

    def build_user_layer(self) -> Layer:
        """What config.yaml says."""
        held: Config | None = self.user.get("config") if "config" in self.user else None
        tree = held.model_dump(mode="json", include=set(KEYS), exclude_unset=True) if held else {}
        return Layer("user", tree, str(self.user.path / "config.yaml"), problems=_list_file_problems(self.user))

    async def load_job_defaults(self, root: Path | None = None) -> Tree:
        """What the jobs of a workflow get when it does not say: resources, environment, log_dir, work_dir."""
        config = (await self.resolve(root)).config
        return {key: config[key] for key in config_file.JOB_KEYS}

    def list_paths(self) -> list[dict[str, Any]]:
        """The three files of the layers in rising precedence: path, whether it exists, source. Asks the disk."""
        system = self.system.path / self.system.only[0]
        files = {"system": system, "user": self.user.path / "config.yaml", "project": self.started_in / PROJECT}
        return [{"path": str(one), "exists": _is_there(one), "source": source} for source, one in files.items()]

    async def refresh_outside(self) -> None:
        """Nothing; what is known of the files outside of the store is as they were a moment ago, however many ask."""
        if time.monotonic() - self._looked_at < LOOK_S:
            return
        self._looked_at = time.monotonic()
        await asyncio.gather(*(one.refresh(one.only) for one in (self.system, *self.projects.values())))

    def list_problems(self, roots: Iterable[Path]) -> list[dict[str, Any]]:
        """What was wrong outside of config.yaml when it was looked at last; `roots` are those of the mounts."""
        outside = [self.system, *(self.get_project_folder(root) for root in [self.started_in, *roots])]
        return layers.list_problems([*(build_layer("", one) for one in outside), self.from_environment])

    # Writing.

    async def update(self, given: Tree, if_match: str | None = None) -> EffectiveConfig:
        """What counts after the values given were merged into config.yaml; Invalid with all that is wrong with them.

        What is in force already is not written, so that a whole configuration sent back changes what was changed in it.
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
        """What counts after config.yaml says nothing of what the other layers may say too; the server's own stays."""
        await edit_file(self.user, "config", lambda data: config_file.edit_config(data, dict.fromkeys(KEYS)), if_match)
        return await self.resolve()

    # Projects.

    async def describe_project(self, mount: Mount) -> dict[str, Any]:
        """The srunx.json of a mount: where it is, exists, config (what it says, secrets masked), problems if any."""
        folder = self.get_project_folder(mount.root)
        await folder.refresh(folder.only)
        said = build_layer("project", folder)
        found = layers.list_problems([said])
        raw = folder.get("srunx").raw if "srunx" in folder else None
        known = {key: one for key, one in raw.items() if key in KEYS} if raw is not None else None
        more = {"problems": found} if found else {}
        place = {"mount_name": mount.name, "local_path": str(mount.root), "config_path": said.path}
        return {**place, "exists": bool(folder.file_states), "config": masks.mask_secrets(known), **more}

    async def require_project_folder(self, mount: Mount) -> Folder:
        """The folder in which the srunx.json of a mount is to be written; NotFound when the disk lacks it."""
        if not await asyncio.to_thread(mount.is_there):
            raise NotFound("Mount", mount.name, ": its folder is not there")
        return self.get_project_folder(mount.root)

    async def save_project(self, mount: Mount, given: Tree, if_match: str | None = None) -> dict[str, Any]:
        """The project as it is shown after srunx.json says what was given, and keeps the keys of other programs."""
        folder = await self.require_project_folder(mount)

        def edit(data: bytes) -> bytes:
            old = layers.parse_layer(data).raw if data else {}
            wanted = layers.validate_tree(masks.unmask_secrets(layers.keep_known_part(given), old))
            foreign = {key: one for key, one in old.items() if key not in KEYS}
            return _to_json({**foreign, **_drop_nulls(wanted)})

        await edit_file(folder, "srunx", edit, if_match)
        return await self.describe_project(mount)

    async def init_project(self, mount: Mount) -> dict[str, Any]:
        """The project as it is shown after srunx.json was made with example values; Conflict when there is one."""
        try:
            await (await self.require_project_folder(mount)).create("srunx", _to_json(EXAMPLE))
        except Exists:
            raise Conflict(f"{mount.root / PROJECT} already exists") from None
        return await self.describe_project(mount)

    def get_tag(self) -> str:
        """What If-Match must say to change config.yaml as it is now."""
        return get_tag(self.user, "config")

    def get_project_tag(self, root: Path) -> str:
        """What If-Match must say to change this srunx.json as it was when it was looked at last."""
        return get_tag(self.get_project_folder(root), "srunx")


def build_layer(source: str, folder: Folder) -> Layer:
    """The layer that the one file of a folder makes; one that cannot be read says what it said before."""
    name = Path(folder.only[0]).stem
    said: LayerFile = folder.get(name) if name in folder else LayerFile({}, {})
    return Layer(
        source, said.tree, str(folder.path / folder.only[0]), problems=_list_file_problems(folder) or said.problems
    )


def _list_file_problems(folder: Folder) -> tuple[dict[str, Any], ...]:
    """Why the file of a folder cannot be read now; nothing when it can."""
    return tuple({**one, "since": held.since} for held in folder.file_states.values() for one in held.problems)


def _to_json(value: Tree) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _drop_nulls(value: Tree) -> Tree:
    """The mapping without its nulls: a form's empty field says nothing, it does not undo what lies below."""
    return {key: _drop_nulls(one) if isinstance(one, dict) else one for key, one in value.items() if one is not None}


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
