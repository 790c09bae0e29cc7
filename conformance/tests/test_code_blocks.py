"""The check of the code in documents sees what a reader would run into."""

from __future__ import annotations

from pathlib import Path

from testing.code_blocks import faults, python_of

RIGHT = """# A page

<!-- python
names = {"ann"}
-->

```python
found = await first(names)
```

```python
async def first(names: set[str]) -> str: return min(names)
```

<!-- include: somewhere.py -->
```python
left out, because it is a file
```
<!-- end -->

<!-- python
import json
-->

```python
json.dumps({})
```
"""


def faults_of(text: str, folder: Path) -> list[str]:
    (folder / "page.md").write_text(text)
    return faults(folder, ["page.md"])


def test_code_with_its_context_is_right(tmp_path: Path) -> None:
    assert faults_of(RIGHT.replace("first(names)", "asyncio.sleep(0)"), tmp_path) == [
        'page.md:8: error: Name "asyncio" is not defined  [name-defined]'
    ]
    assert faults_of(RIGHT.replace("await first(names)", "min(names)"), tmp_path) == []


def test_a_context_begins_a_new_program(tmp_path: Path) -> None:
    text = RIGHT.replace("await first(names)", "min(names)")
    (fault,) = faults_of(text.replace("json.dumps({})", "json.dumps(found)"), tmp_path)
    assert fault.startswith('page.md:26: error: Name "found" is not defined')


def test_lines_of_code_stay_where_they_are() -> None:
    lines = python_of(RIGHT).split("\n")
    assert lines[3].strip() == 'names = {"ann"}'
    assert lines[7].strip() == "found = await first(names)"


def test_a_wrong_argument_is_found(tmp_path: Path) -> None:
    page = "```python\nfrom coatcheck import SessionOptions\n\nSessionOptions(secert='x')\n```\n"
    assert any("page.md:4" in fault and "secert" in fault for fault in faults_of(page, tmp_path))


def test_data_must_be_readable(tmp_path: Path) -> None:
    page = "```toml\na = \n```\n\n```json\n{}\n```\n\n```yaml\n- [\n```\n"
    found = faults_of(page, tmp_path)
    assert [fault.partition(" ")[0] for fault in found] == ["page.md:1:", "page.md:9:"]
