from __future__ import annotations

import pytest

from storage.console import print_lines


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ("狗 é 🐕", "狗 é 🐕"),
        ("a\nb\tc", "a\\x0ab\\x09c"),
        ("\x1b[31mred\x07\x9b", "\\x1b[31mred\\x07\\x9b"),
        ("\udcff", "\\udcff"),
    ],
)
def test_a_name_in_a_line_cannot_steer_the_terminal_or_break_it(capsys, line, printed):
    print_lines([line])
    assert capsys.readouterr().out == printed + "\n"
