from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest
from tests.docs.blocks import blocks, run_file


def page(folder: Path, text: str) -> Path:
    path = folder / "page.md"
    path.write_text(textwrap.dedent(text))
    return path


def test_blocks_run_in_order_in_one_namespace(tmp_path: Path) -> None:
    run_file(
        page(
            tmp_path,
            """
            ```python
            seen = ["first"]
            ```
            ```python
            assert seen == ["first"]
            ```
            """,
        )
    )


def test_other_languages_are_not_code(tmp_path: Path) -> None:
    path = page(
        tmp_path,
        """
        ```console
        $ make demo
        ```
        ```
        plain
        ```
        ````markdown
        ```python
        raise ValueError("inside another block")
        ```
        ````
        """,
    )
    assert blocks(path) == []


def test_an_indented_block_is_dedented(tmp_path: Path) -> None:
    (block,) = blocks(page(tmp_path, "1. First:\n\n   ```python\n   if True:\n       x = 1\n   ```\n"))
    assert block.source == "if True:\n    x = 1\n"


def test_await_at_top_level_shares_one_loop_with_other_blocks(tmp_path: Path) -> None:
    run_file(
        page(
            tmp_path,
            """
            ```python
            import asyncio
            loop = asyncio.get_running_loop()
            await asyncio.sleep(0)
            ```
            ```python
            assert await asyncio.sleep(0, result=asyncio.get_running_loop()) is loop
            ```
            """,
        )
    )


def test_a_block_is_a_script(tmp_path: Path) -> None:
    before = sys.modules["__main__"]
    run_file(
        page(
            tmp_path,
            """
            ```python
            import sys
            ran = __name__ == "__main__"
            assert ran and sys.modules["__main__"].ran
            ```
            """,
        )
    )
    assert sys.modules["__main__"] is before


def test_a_marked_block_is_compiled_but_not_run(tmp_path: Path) -> None:
    path = page(
        tmp_path,
        "<!-- not run: needs a key -->\n\n```python\nraise ValueError\n```\n\n```python\nx = 1\n```\n",
    )
    assert [block.run for block in blocks(path)] == [False, True]
    run_file(path)

    path = page(tmp_path, "<!-- not run: needs a key -->\n```python\nx = = 1\n```\n")
    with pytest.raises(pytest.fail.Exception, match=r"page\.md:3: "):
        run_file(path)


@pytest.mark.parametrize(
    "mark", ["<!-- not run -->", "<!-- not run: -->", "<!-- not run: x -->\nA sentence."]
)
def test_a_mark_needs_a_reason_and_stands_right_before_its_block(tmp_path: Path, mark: str) -> None:
    (block,) = blocks(page(tmp_path, f"{mark}\n```python\nx = 1\n```\n"))
    assert block.run


@pytest.mark.parametrize("code", ["x = 1\nraise ValueError('boom')", "x = 1\nawait fails()"])
def test_a_failure_names_the_file_and_the_line(tmp_path: Path, code: str) -> None:
    fails = "async def fails():\n    raise ValueError('boom')\n"
    path = page(tmp_path, f"# Title\n\n```python\n{code}\n```\n")
    path.write_text(path.read_text().replace("```python\n", f"```python\n{fails}", 1))
    expected = 7 if "raise" in code else 5
    with pytest.raises(pytest.fail.Exception, match=rf"page\.md:{expected}: [^\0]*ValueError: boom"):
        run_file(path)


def test_a_block_that_is_never_closed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"page\.md:2: this block is never closed"):
        blocks(page(tmp_path, "text\n```python\nx = 1\n"))
