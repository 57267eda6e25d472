"""Names of languages in Chinese; those in English are `search.query.translation.NAMES`."""

from __future__ import annotations

CHINESE_NAMES = {
    "am": "阿姆哈拉文", "ar": "阿拉伯文", "be": "白俄罗斯文", "bn": "孟加拉文", "bo": "藏文", "cs": "捷克文",
    "da": "丹麦文", "de": "德文", "el": "希腊文", "en": "英文", "es": "西班牙文", "fa": "波斯文", "fr": "法文",
    "gu": "古吉拉特文", "he": "希伯来文", "hi": "印地文", "hu": "匈牙利文", "hy": "亚美尼亚文", "is": "冰岛文",
    "it": "意大利文", "ja": "日文", "ka": "格鲁吉亚文", "kk": "哈萨克文", "km": "高棉文", "kn": "卡纳达文", "ko": "韩文",
    "lo": "老挝文", "lv": "拉脱维亚文", "ml": "马拉雅拉姆文", "mn": "蒙古文", "my": "缅甸文", "nl": "荷兰文",
    "or": "奥里亚文", "pa": "旁遮普文", "pl": "波兰文", "pt": "葡萄牙文", "ro": "罗马尼亚文", "ru": "俄文",
    "si": "僧伽罗文", "sr": "塞尔维亚文", "sv": "瑞典文", "ta": "泰米尔文", "te": "泰卢固文", "th": "泰文",
    "tr": "土耳其文", "uk": "乌克兰文", "und": "另一种语言", "ur": "乌尔都文", "vi": "越南文", "zh": "中文",
}  # fmt: skip
