"""The published site has a folder for each version, and packages lead to it."""

from __future__ import annotations

from pathlib import Path

from testing import addresses
from testing.site_versions import main, releases_in


def published(tmp_path: Path, *versions: str) -> Path:
    """Publish a site for each version, in this order."""
    site, folder = tmp_path / "site", tmp_path / "published"
    site.mkdir(exist_ok=True)
    for version in versions:
        (site / "index.html").write_text(version)
        assert main([str(site), str(folder), "--version", version]) == 0
    return folder


def test_stable_is_the_newest_release(tmp_path: Path) -> None:
    folder = published(tmp_path, "latest", "0.9.0", "0.10.0", "0.9.1", "latest")
    assert releases_in(folder) == ["0.10.0", "0.9.1", "0.9.0"]
    for name in ("latest", "0.9.0", "0.9.1", "0.10.0"):
        assert (folder / name / "index.html").read_text() == name
    assert (folder / "stable" / "index.html").read_text() == "0.10.0"
    assert 'url=stable/"' in (folder / "index.html").read_text()
    assert '"0.9.1/"' in (folder / "versions.html").read_text()


def test_without_a_release_the_site_is_that_of_main(tmp_path: Path) -> None:
    folder = published(tmp_path, "latest")
    assert 'url=latest/"' in (folder / "index.html").read_text()
    assert not (folder / "stable").exists()


def test_a_page_that_is_gone_is_gone(tmp_path: Path) -> None:
    folder = published(tmp_path, "latest")
    (folder / "latest" / "old.html").touch()
    published(tmp_path, "latest")
    assert not (folder / "latest" / "old.html").exists()


def test_a_wrong_version_publishes_nothing(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    for version in ("../x", "v1.0.0", "1.0", "stable"):
        assert main([str(site), str(tmp_path / "published"), "--version", version]) == 2
    assert not (tmp_path / "published").exists()


def test_package_pages_lead_somewhere() -> None:
    assert list(addresses.faults()) == []
