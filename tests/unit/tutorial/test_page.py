"""The player reads a tutorial as a reader does, and tells the first thing that is otherwise."""

import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "tutorial"
sys.path.append(str(TUTORIAL))

from page import Command, File, difference, steps  # noqa: E402

PAGE = """\
## 1. First

```console
$ one
a
b
$ two    # exits with 1
```

Write this to `some/file.txt`:

```text
text
```
"""


def page(tmp_path, text=PAGE):
    path = tmp_path / "page.md"
    path.write_text(text)
    return path


def test_commands_and_files_are_read_in_order(tmp_path):
    (_, one), (_, two), (section, file) = steps(page(tmp_path))
    assert one == Command(line=4, text="one", prints=("a", "b"))
    assert (two.line, two.exit_code, two.prints) == (7, 1, ())
    assert (section, file) == (1, File(line=12, path="some/file.txt", text="text\n"))


@pytest.mark.parametrize(
    "text", ["```console\n$ one\n", "A file:\n\n```text\ntext\n```\n", "```console\nno command\n```\n"]
)
def test_a_page_that_cannot_be_followed_is_refused(tmp_path, text):
    with pytest.raises(ValueError, match=r"line 3|:1:|line 1"):
        list(steps(page(tmp_path, text)))


@pytest.mark.parametrize(
    ("wanted", "printed", "same"),
    [
        (["a"], ["a"], True),
        (["a"], ["b"], False),
        (["a"], [], False),
        ([], ["a"], False),
        (["a … c"], ["a b c"], True),
        (["a … c"], ["a b d"], False),
        (["…", "z"], ["x", "y", "z"], True),
        (["…", "z"], ["z", "y"], False),
        (["a", "…"], ["a"], True),
        (["a", "…"], ["b"], False),
        (["…", "m", "…", "z"], ["m", "m", "y", "z"], True),
        (["a.c"], ["abc"], False),
    ],
)
def test_what_varies_is_left_out_and_nothing_else(wanted, printed, same):
    assert (difference(wanted, printed) is None) is same


@pytest.mark.parametrize(
    ("command", "prints", "said"),
    [
        ("echo one", "two", "wanted:  two"),
        ("echo one; exit 3", "one", "ended the shell"),
        ("echo one; false", "one", "it ended with 1, not with 0"),
        ("cat", "", None),
        ("cd / && X=1", "", None),
    ],
)
def test_the_player_names_the_command_that_differed(tmp_path, command, prints, said):
    text = f"```console\n$ {command}\n{prints}\n```\n".replace("\n\n", "\n")
    play = [sys.executable, str(TUTORIAL / "play.py"), "--page", str(page(tmp_path, text))]
    played = subprocess.run(play, capture_output=True, text=True, check=False, timeout=60)
    if said is None:
        assert (played.returncode, played.stderr) == (0, "")
    else:
        assert played.returncode == 1
        assert f"page.md:2: $ {command}" in played.stderr
        assert said in played.stderr
