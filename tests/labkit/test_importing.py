"""Getting data onto disk: whole or not at all, from whatever the user has."""

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from labkit.data import check_pets, get_pets, open_pets
from labkit.errors import LabError


def tar_of(folder: Path, archive: Path, top: str, mode: str = "w:xz") -> Path:
    with tarfile.open(archive, mode) as tar:
        tar.add(folder, top)
    return archive


def leftovers(root: Path) -> list[str]:
    return [p.name for p in root.iterdir()] if root.exists() else []


@pytest.mark.parametrize("top", ["oxford-iiit-pet", "somebody/elses/folder", "."])
@pytest.mark.parametrize("mode", ["w:xz", "w:gz", "w"])
def test_a_tar_is_imported_whatever_its_top_folder_and_compression(own_pets, tmp_path, top, mode):
    folder = own_pets()
    pets = get_pets(tmp_path / "new", tar_of(folder, tmp_path / "pets.tar", top, mode))
    assert pets.folder == tmp_path / "new" / "oxford-iiit-pet"
    assert pets.fingerprint == open_pets(folder).fingerprint
    assert leftovers(tmp_path / "new") == ["oxford-iiit-pet"]


def test_a_zip_a_folder_and_the_two_official_archives_give_the_same_data(own_pets, tmp_path):
    folder = own_pets()
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as file:
        for path in folder.rglob("*"):
            file.write(path, Path("top") / path.relative_to(folder))
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for part in ("images", "annotations"):
        tar_of(folder / part, mirror / f"{part}.tar.gz", part, "w:gz")
    for number, source in enumerate((tmp_path / "pets.zip", folder, folder.parent, mirror)):
        assert get_pets(tmp_path / f"new{number}", source).fingerprint == open_pets(folder).fingerprint
    assert len(open_pets(folder)) == 4, "the source is only read"


def test_lists_of_ones_own_come_along(own_pets, tmp_path):
    folder = own_pets()
    names = [pet.name for pet in open_pets(folder).items]
    own = folder / "annotations" / "splits" / "mine"
    own.mkdir(parents=True)
    (own / "train.txt").write_text("\n".join(names[:2]))
    assert len(get_pets(tmp_path / "new", folder).split("train", "mine")) == 2


@pytest.mark.parametrize("keep", [0.3, 0.97])
def test_a_cut_archive_is_refused_and_nothing_is_left(own_pets, tmp_path, keep):
    archive = tar_of(own_pets(), tmp_path / "pets.tar.xz", "pets")
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(LabError, match=r"pets\.tar\.xz.*damaged"):
        get_pets(tmp_path / "new", archive)
    assert leftovers(tmp_path / "new") == []


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "pets.tar").write_bytes(b"this is not an archive" * 100)
    with pytest.raises(LabError, match=r"pets\.tar.*damaged"):
        get_pets(tmp_path / "new", tmp_path / "pets.tar")


def test_an_incomplete_copy_is_refused_by_the_first_missing_file(own_pets, tmp_path):
    folder = own_pets()
    gone = sorted((folder / "images").iterdir())[1]
    gone.unlink()
    with pytest.raises(LabError, match=rf"1 of 8 listed files are missing.*{gone.name}"):
        get_pets(tmp_path / "new", folder)
    assert leftovers(tmp_path / "new") == []


def test_another_data_set_is_refused(tmp_path):
    (tmp_path / "other" / "images").mkdir(parents=True)
    with pytest.raises(LabError, match="another data set"):
        get_pets(tmp_path / "new", tmp_path / "other")


@pytest.mark.parametrize("name", ["../outside.txt", "/tmp/labkit-outside.txt"])
def test_nothing_lands_outside_the_target(own_pets, tmp_path, name):
    folder = own_pets()
    outside = tmp_path / "outside.txt"
    tar = tar_of(folder, tmp_path / "evil.tar", "pets", "w")
    with tarfile.open(tar, "a") as file:
        entry = tarfile.TarInfo(name)
        entry.size = 4
        file.addfile(entry, io.BytesIO(b"evil"))
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as file:
        file.writestr(name, "evil")
    if name.startswith(".."):
        with pytest.raises(LabError, match="outside"):
            get_pets(tmp_path / "new", tar)
    else:  # tarfile strips the leading slash, so the file lands inside
        get_pets(tmp_path / "new", tar)
    with pytest.raises(LabError, match="outside"):
        get_pets(tmp_path / "new2", tmp_path / "evil.zip")
    assert not outside.exists()
    assert not Path("/tmp/labkit-outside.txt").exists()


def test_a_link_out_of_the_archive_is_refused(tmp_path):
    with tarfile.open(tmp_path / "evil.tar", "w") as file:
        entry = tarfile.TarInfo("pets/images")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc"
        file.addfile(entry)
    with pytest.raises(LabError, match="outside"):
        get_pets(tmp_path / "new", tmp_path / "evil.tar")


def test_data_that_are_there_are_neither_replaced_nor_fetched_again(own_pets, tmp_path):
    folder = own_pets()
    first = get_pets(tmp_path / "new", folder)
    assert get_pets(tmp_path / "new").fingerprint == first.fingerprint
    with pytest.raises(LabError, match="there already"):
        get_pets(tmp_path / "new", folder)


def test_without_a_network_the_way_out_is_named(lab_home, monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    monkeypatch.setattr("torchvision.datasets.OxfordIIITPet.__init__", _unreachable)
    with pytest.raises(LabError, match="--from ARCHIVE-OR-FOLDER"):
        get_pets("pets")
    assert not (tmp_path / "dataset" / "pets" / "oxford-iiit-pet").exists()


def _unreachable(*_, **__):
    raise OSError("Name or service not known")


def test_a_download_goes_through_the_same_checks(own_pets, monkeypatch, tmp_path):
    folder = own_pets()
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))

    def download(self, root, **_):
        shutil.copytree(folder, Path(root) / "oxford-iiit-pet")

    monkeypatch.setattr("torchvision.datasets.OxfordIIITPet.__init__", download)
    pets = get_pets("pets")
    assert pets.label == "pets"
    assert pets.fingerprint == open_pets(folder).fingerprint
    assert leftovers(tmp_path / "home" / "dataset") == ["pets"]


def test_the_check_names_what_is_wrong(own_pets):
    folder = own_pets()
    pets = open_pets(folder)
    assert check_pets(pets).problems == ()
    trimap = pets.trimap(0)
    from PIL import Image

    Image.fromarray(np.full_like(trimap, 2)).save(pets.trimap_path(0))
    Image.fromarray(pets.image(1)).save(pets.image_path(1), format="PNG")
    pets.image_path(2).write_bytes(pets.image_path(2).read_bytes()[:200])
    report = check_pets(pets)
    assert report.empty == (pets.items[0].name,)
    assert report.not_jpeg == (pets.items[1].name,)
    assert len(report.problems) == 1
    assert pets.items[2].name in report.problems[0]


@pytest.mark.real
def test_the_real_originals_pass_the_check_with_their_quirks(real_originals):
    report = check_pets(real_originals)
    assert (report.images, report.problems) == (291, ())
    assert report.empty == ("saint_bernard_78",)
    assert report.not_jpeg == ("Abyssinian_5",)
