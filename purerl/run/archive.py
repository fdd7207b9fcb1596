"""The archive of a chunk: what it holds, whose it is, and how that is verified.

A finished chunk has its curves, and what is kept of the final states. A chunk that is
being computed has a part beside it: its curves so far and its whole state. The part
before it is kept too, until the next one is written.

Every archive says to which run it belongs, which of its chunks it is, and which program
computed it. What it holds is compared with what a chunk of that run must hold.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from purerl.checks import shown
from purerl.run.checkpoint import read_archive, write_arrays

Arrays = dict[str, np.ndarray]
Shape = tuple[list[int], str]  # and dtype


class Shapes(NamedTuple):
    """Shape and dtype of everything that a chunk stores, without lanes and points.

    Attributes:
        metrics: of training, by name.
        measures: of evaluations, by name.
        snapshot: leaves of the snapshots, by path.
        state: leaves of the states, by path.
        carry: leaves of the state between two slices, by path; with lanes.
    """

    metrics: Mapping[str, Shape]
    measures: Mapping[str, Shape]
    snapshot: Mapping[str, Shape]
    state: Mapping[str, Shape]
    carry: Mapping[str, Shape]

    def chunk(self, lanes: int, points: int, every: int, keep: str) -> dict[str, Shape]:
        """Shapes of a finished chunk."""
        shapes = self.curves(lanes, points, every)
        shapes |= {"seconds": ([], "<f8"), "computed": ([], "<i4")}
        for name, (shape, dtype) in {"snapshot": self.snapshot, "state": self.state}.get(
            keep, {}
        ).items():
            shapes[f"{keep}.{name}"] = [lanes, *shape], dtype
        return shapes

    def curves(self, lanes: int, points: int, every: int) -> dict[str, Shape]:
        """Shapes of curves with so many points."""
        shapes: dict[str, Shape] = {"failed": ([lanes], "<i4")}
        for name, (shape, dtype) in self.metrics.items():
            shapes[f"curves.{name}"] = [lanes, points, *shape], dtype
            shapes[f"counts.{name}"] = [lanes, points], "<f4"
        for name, (shape, dtype) in self.measures.items():
            shapes[f"curves.{name}"] = [lanes, points // every, *shape], dtype
        return shapes

    def part(self, lanes: int, points: int, every: int) -> dict[str, Shape]:
        """Shapes of a chunk that is being computed, after so many whole points."""
        carry = {f"carry.{name}": shape for name, shape in self.carry.items()}
        return self.curves(lanes, points, every) | {"seconds": ([], "<f8")} | carry


def values_at(arrays: Arrays, point: int, every: int) -> Arrays:
    """The values of a chunk's runs at one point, ``{name: [W, ...]}``."""
    values = {}
    for name, curve in arrays.items():
        kind, _, short = name.partition(".")
        if kind == "curves" and f"counts.{short}" in arrays:
            values[short] = curve[:, point]
        elif kind == "curves" and (point + 1) % every == 0:
            values[short] = curve[:, point // every]
    return values


class Owner(NamedTuple):
    """Identification that every archive of a chunk carries.

    Attributes:
        run: digest of the run's identity.
        chunk: its number.
        configurations: by lane.
        seeds: by lane.
    """

    run: str
    chunk: int
    configurations: list[int]
    seeds: list[int]


class Part(NamedTuple):
    """A chunk that is not finished.

    Attributes:
        arrays: its curves and seconds, and either its carry or its state.
        blocks: that were computed.
    """

    arrays: Arrays
    blocks: int


class Place(NamedTuple):
    """Location of a chunk, as plain data.

    Attributes:
        path: of the finished chunk.
        owner: whose it is.
        programs: digests of the programs that may have computed it; the last one is the
            present one, which alone may go on with a part.
    """

    path: str
    owner: Owner
    programs: list[str]

    @property
    def parts(self) -> list[Path]:
        """Files of its parts, the newest first."""
        path = Path(self.path)
        return [path.with_suffix(".part"), path.with_suffix(".part-before")]

    def _about(self, **sizes):
        return self.owner._asdict() | {"program": self.programs[-1], **sizes}

    def write(self, arrays: Arrays, points: int, every: int, keep: str) -> None:
        """Write the finished chunk, and remove its parts."""
        write_arrays(self.path, arrays, self._about(points=points, every=every, keep=keep))
        for part in self.parts:
            part.unlink(missing_ok=True)

    def write_part(self, part: Part, points: int, every: int) -> None:
        """Write what there is of a chunk after ``points`` whole points."""
        newest, before = self.parts
        if newest.exists():
            os.replace(newest, before)
        about = self._about(points=points, every=every, blocks=part.blocks)
        write_arrays(newest, part.arrays, about)

    def read(self, shapes: Shapes) -> tuple[Arrays, dict[str, Any]] | None:
        """The finished chunk, verified; None if there is none.

        Returns:
            Its arrays, and what it says about itself.

        Raises:
            ValueError: it is damaged, or belongs elsewhere.
        """
        try:
            about, arrays = read_archive(self.path)
        except FileNotFoundError:
            return None
        points, every = self._verified(Path(self.path), about, ("points", "every"), self.programs)
        keep = str(about.get("keep"))
        expected = shapes.chunk(len(self.owner.seeds), points, every, keep)
        self._compare(Path(self.path), arrays, expected)
        return arrays, about

    def read_part(self, shapes: Shapes) -> Part | None:
        """The newest part that is whole; None if there is none."""
        for path in self.parts:
            try:
                about, arrays = read_archive(path)
                names = "points", "every", "blocks"
                present = self.programs[-1:]
                points, every, blocks = self._verified(path, about, names, present)
                self._compare(path, arrays, shapes.part(len(self.owner.seeds), points, every))
            except (FileNotFoundError, ValueError):
                continue  # the one before it, or from the start
            return Part(arrays, blocks)
        return None

    def _verified(self, path, about, names, programs):
        differing = [name for name, mine in self.owner._asdict().items() if about.get(name) != mine]
        if about.get("program") not in programs:
            differing.append("program")
        if differing:
            raise ValueError(
                f"{path} is no chunk {self.owner.chunk} of this run: {', '.join(differing)} "
                "differs; move it away to have it computed again"
            )
        sizes: list[int] = []
        for name in names:
            size = about.get(name)
            if type(size) is not int or not 0 <= size < 2**31 or (name == "every" and size == 0):
                raise ValueError(f"{path} is damaged: {name} is {shown(size)}")
            sizes.append(size)
        return sizes

    def _compare(self, path, arrays, expected):
        found = {name: (list(x.shape), x.dtype.str) for name, x in arrays.items()}
        for name in sorted(found.keys() | expected.keys()):
            there, here = found.get(name), expected.get(name)
            if there is None or here is None or (list(here[0]), here[1]) != there:
                raise ValueError(
                    f"{path} is no chunk of this run: {name} is {there or 'missing'}, and should "
                    f"be {here or 'missing'}; move it away to have it computed again"
                )
