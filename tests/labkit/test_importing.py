"""Getting data onto disk: whole or not at all, from whatever the user has."""

import errno
import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
    with pytest.raises(LabError, match=r"pets\.tar\.xz: cannot be unpacked"):
        get_pets(tmp_path / "new", archive)
    assert leftovers(tmp_path / "new") == []


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "pets.tar").write_bytes(b"this is not an archive" * 100)
    with pytest.raises(LabError, match=r"pets\.tar: cannot be unpacked .*is not a compressed or uncompressed tar file"):
        get_pets(tmp_path / "new", tmp_path / "pets.tar")


def test_an_incomplete_copy_is_refused_by_the_first_missing_file(own_pets, tmp_path):
    folder = own_pets()
    gone = sorted((folder / "images").iterdir())[1]
    gone.unlink()
    with pytest.raises(LabError, match=rf"images: 1 of 4 listed files are missing.*{gone.name}"):
        get_pets(tmp_path / "new", folder)
    assert leftovers(tmp_path / "new") == []


@pytest.mark.parametrize("ending", ["JPG", "jpeg", "png"])
def test_images_of_other_endings_are_taken_and_renamed(own_pets, tmp_path, ending):
    folder = own_pets()
    first = open_pets(folder).image(1)
    for path in sorted((folder / "images").iterdir()):
        path.with_suffix(".mat").write_bytes(b"the official archive has some of these")
        path.rename(path.with_suffix(f".{ending}"))
    pets = get_pets(tmp_path / "new", folder)
    assert np.array_equal(pets.image(1), first)
    assert sorted({p.suffix for p in (pets.folder / "images").iterdir()}) == [".jpg"]
    with pytest.raises(LabError, match=r"\.jpg: the file is missing; .*takes images of any ending"):
        _ = open_pets(folder).fingerprint


def test_the_usual_ending_counts_where_a_name_has_two_images(own_pets, tmp_path):
    folder = own_pets()
    expected = open_pets(folder).fingerprint
    for path in sorted((folder / "images").iterdir()):
        path.with_suffix(".PNG").write_bytes(b"another")
        path.with_suffix(".jpeg").write_bytes(b"another")
    assert get_pets(tmp_path / "new", folder).fingerprint == expected


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_copy_with_folders_in_folders_of_their_name_is_taken(own_pets, tmp_path, kind):
    folder = own_pets()
    nested = tmp_path / "nested"
    for part in ("images", "annotations"):
        shutil.copytree(folder / part, nested / part / part)
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "nested.zip", "w") as file:
            for path in nested.rglob("*.*"):
                file.write(path, path.relative_to(nested))
                file.writestr(f"__MACOSX/{path.relative_to(nested).with_name('._' + path.name)}", "junk")
        nested = tmp_path / "nested.zip"
    assert get_pets(tmp_path / "new", nested).fingerprint == open_pets(folder).fingerprint


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
        for path in folder.rglob("*.*"):
            file.write(path, path.relative_to(folder))
    if name.startswith(".."):
        with pytest.raises(LabError, match="outside"):
            get_pets(tmp_path / "new", tar)
    else:  # tarfile strips the leading slash, so the file lands inside
        get_pets(tmp_path / "new", tar)
    get_pets(tmp_path / "new2", tmp_path / "evil.zip")  # zipfile strips both
    assert not outside.exists()
    assert not Path("/tmp/labkit-outside.txt").exists()


def test_a_link_out_of_the_archive_is_refused(tmp_path):
    with tarfile.open(tmp_path / "evil.tar", "w") as file:
        entry = tarfile.TarInfo("pets/images")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc"
        file.addfile(entry)
    with pytest.raises(LabError, match=r"evil\.tar: cannot be unpacked.*link to an absolute path"):
        get_pets(tmp_path / "new", tmp_path / "evil.tar")


def zip_of(content: str, flag: int = 0, method: int = 0) -> bytes:
    """A zip archive of one file, whose headers then name a flag and a compression method."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.txt", content)
    data = bytearray(buffer.getvalue())
    for start in (data.find(b"PK\3\4") + 6, data.find(b"PK\1\2") + 8):
        data[start] |= flag
        data[start + 2] |= method
    return bytes(data)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (zip_of("a", flag=1), r"pets\.zip: cannot be unpacked .*encrypted.*unpack it yourself"),
        (zip_of("a", method=9), r"pets\.zip: cannot be unpacked .*compression method.*unpack it yourself"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(50), r"pets\.zip: cannot be unpacked .*unpack it yourself"),
        (zip_of("a"), "another data set"),
    ],
)
def test_an_archive_that_cannot_be_unpacked_is_one_sentence(tmp_path, content, cause):
    (tmp_path / "pets.zip").write_bytes(content)
    with pytest.raises(LabError, match=cause):
        get_pets(tmp_path / "new", tmp_path / "pets.zip")
    assert leftovers(tmp_path / "new") == []


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_a_full_disk_is_no_damaged_archive(own_pets, tmp_path, monkeypatch, kind):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    (tmp_path / "pets.zip").write_bytes(zip_of("a"))
    monkeypatch.setattr(shutil, "copyfileobj", full)
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(LabError, match=r"somewhere: No space left on device; free the disk"):
        get_pets(tmp_path / "new", tmp_path / "pets.zip" if kind == "zip" else own_pets())
    assert leftovers(tmp_path / "new") == []


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
    assert check_pets(pets) == ([], [])
    Image.fromarray(np.full_like(pets.trimap(0), 2)).save(pets.trimap_path(0))
    Image.fromarray(pets.image(1)).save(pets.image_path(1), format="PNG")  # which is read all the same
    pets.image_path(2).write_bytes(pets.image_path(2).read_bytes()[:200])
    (problem,), empty = check_pets(pets)
    assert pets.items[2].name in problem
    assert empty == [pets.items[0].name]


@pytest.mark.real
def test_the_real_originals_pass_the_check_with_their_quirks(real_originals):
    assert check_pets(real_originals) == ([], ["saint_bernard_78"])
