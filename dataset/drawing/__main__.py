"""The command `python -m dataset.drawing`."""

import argparse
import hashlib
import tempfile
from pathlib import Path

from tqdm import tqdm

from dataset.drawing.files import draw_sample, draw_slides, pack


def main() -> None:
    """Draw what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m dataset.drawing",
        description="Draw cats and dogs into FOLDER, laid out as the Oxford-IIIT Pet data set, or other things.",
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="new or empty folder (any with --archives)")
    parser.add_argument("--count", type=int, default=600, help="number of pets (600)")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other images (0)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--slides", action="store_true", help="draw microscope slides instead: 15 groups of 12 tiles")
    kind.add_argument("--archives", action="store_true", help="write sample.tar and slides.tar, which labkit holds")
    given = parser.parse_args()

    def draw_pets(root: Path) -> Path:
        return draw_sample(root, given.count, given.seed, lambda items: tqdm(items, "drawing", given.count))

    try:
        if given.archives:
            given.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory() as work:
                folders = draw_pets(Path(work) / "sample"), draw_slides(Path(work) / "slides", seed=given.seed)
                for folder in folders:
                    archive = given.folder / f"{folder.name}.tar"
                    pack(folder, archive)
                    print(f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive}")
        elif given.slides:
            print(draw_slides(given.folder, seed=given.seed))
        else:
            print(draw_pets(given.folder))
    except (ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
