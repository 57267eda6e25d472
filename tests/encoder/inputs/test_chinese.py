from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.inputs.chinese import simplified

PAIRS = {
    "貓": "猫", "汽車": "汽车", "火車": "火车", "一隻狗": "一只狗", "頭髮": "头发", "發現": "发现",
    "餅乾": "饼干", "乾隆": "乾隆",
    "皇后在後面": "皇后在后面", "看著": "看着",
    "著名": "著名", "一個女孩騎著單車": "一个女孩骑着单车",
    "a 紅色 bus, 2 隻": "a 红色 bus, 2 只",
}  # fmt: skip


@pytest.mark.parametrize(("traditional", "expected"), PAIRS.items())
def test_traditional_characters_become_simplified_ones(traditional, expected):
    assert simplified(traditional) == expected and simplified(expected) == expected


@given(st.text() | st.text(st.characters(min_codepoint=0x3400, max_codepoint=0x9FFF)))
def test_every_character_keeps_its_place(text):
    assert len(simplified(text)) == len(text)


def test_a_text_without_chinese_loads_no_tables():
    code = "import sys; from encoder.inputs.chinese import simplified as s; s('a dog ü'); print('opencc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
