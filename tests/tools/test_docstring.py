from __future__ import annotations

import pytest

from agentfootprint.tools.docstring import read_docstring

GOOGLE = """Finds orders.

    Newest first.

    Args:
        city: where they go
            in the end
        limit (int, optional): at most
            this many: no more
        callback (Callable[[int], str]): unused

    Returns:
        The orders.
    """

SPHINX = """Finds orders.

    Newest first.

    :param city: where they go
        in the end
    :param int limit: at most this many: no more
    :type limit: int
    :returns: The orders.
    """

NUMPY = """Finds orders.

    Newest first.

    Parameters
    ----------
    city : str
        where they go
        in the end
    limit : int, optional
        at most this many: no more

    Returns
    -------
    list
        The orders.
    """


@pytest.mark.parametrize("text", [GOOGLE, SPHINX, NUMPY], ids=["google", "sphinx", "numpy"])
def test_each_style_gives_the_same_parameters(text: str) -> None:
    said = read_docstring(text).parameters
    assert said["city"] == "where they go in the end"
    assert said["limit"] == "at most this many: no more"


@pytest.mark.parametrize("text", [GOOGLE, SPHINX, NUMPY], ids=["google", "sphinx", "numpy"])
def test_the_description_keeps_everything_but_the_parameters(text: str) -> None:
    description = read_docstring(text).description
    assert description.startswith("Finds orders.\n\nNewest first.\n\n")
    assert "The orders." in description
    assert "where they go" not in description
    assert "limit" not in description
    assert "\n\n\n" not in description


def test_a_google_entry_may_have_a_type_with_parentheses_and_brackets() -> None:
    assert read_docstring(GOOGLE).parameters["callback"] == "unused"


def test_numpy_names_that_share_a_description_each_get_it() -> None:
    said = read_docstring("Adds.\n\nParameters\n----------\na, b : int\n    a number\n").parameters
    assert said == {"a": "a number", "b": "a number"}


def test_text_after_the_parameters_that_is_not_indented_belongs_to_the_description() -> None:
    read = read_docstring("Adds.\n\nArgs:\n    a: a number\n\nNever fails.")
    assert read.description == "Adds.\n\nNever fails."
    assert read.parameters == {"a": "a number"}


def test_a_line_that_only_looks_like_a_section_stays() -> None:
    read = read_docstring("Explains.\n\nArgs:\nthese are discussed elsewhere")
    assert read.description == "Explains.\n\nArgs:\nthese are discussed elsewhere"
    assert read.parameters == {}


@pytest.mark.parametrize("text", [None, "", "   \n  "])
def test_no_docstring_says_nothing(text: str | None) -> None:
    assert read_docstring(text).description == ""
