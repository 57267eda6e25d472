"""What the page says, in English and in Chinese."""

from __future__ import annotations

from flask import has_request_context, request

LANGUAGES = ("en", "zh")

_WORDS: dict[str, tuple[str, str]] = {
    "tagline": ("Describe a photo. Find it.", "说出画面，找到照片"),
    "introduction": (
        "Ask in English or Chinese, or with a photo.",
        "用中文或英文描述，或直接用一张照片来找。",
    ),
    "search": ("Search", "搜索"),
    "search_label": ("Describe what you are looking for", "描述你要找的画面"),
    "placeholder": ("A sentence in English or 中文…", "输入一句中文或 English…"),
    "search_for": ("Search for", "查找"),
    "images": ("Photos", "照片"),
    "captions": ("Captions", "描述"),
    "by_photo": ("Search with a photo", "以图搜索"),
    "choose_photo": ("Choose a photo", "选择照片"),
    "drop_hint": ("Drop one anywhere on the page, or paste it.", "也可以把照片拖到页面任意处，或直接粘贴。"),
    "photo_limit": ("JPEG, PNG, WebP and others, up to 20 MB.", "支持 JPEG、PNG、WebP 等格式，最大 20 MB。"),
    "find_similar": ("Find similar photos", "查找相似照片"),
    "find_captions": ("Find captions that fit", "查找相符的描述"),
    "drop_here": ("Drop the photo to search with it", "松开鼠标，用这张照片搜索"),
    "too_large": ("That photo is larger than 20 MB.", "照片超过 20 MB。"),
    "not_a_photo": ("That is not a photo.", "这不是照片。"),
    "try": ("Try", "试试"),
    "from_collection": ("From this collection", "图库一览"),
    "your_photo": ("Your photo", "你的照片"),
    "results_for_text": ("Results for “{what}”", "“{what}”的结果"),
    "like_this": ("Photos like this one", "与此相似的照片"),
    "fit_this": ("Captions that fit this photo", "与此照片相符的描述"),
    "no_results": ("Nothing here", "没有结果"),
    "no_captions": (
        "This collection has no captions to search.",
        "图库中没有可搜索的描述。",
    ),
    "past_the_end": ("The list ends before this page.", "列表到此为止。"),
    "one_images": ("1 photo", "1 张照片"),
    "many_images": ("{n} photos", "{n} 张照片"),
    "one_captions": ("1 caption", "1 条描述"),
    "many_captions": ("{n} captions", "{n} 条描述"),
    "of": ("{first}–{last} of {all}", "第 {first}–{last} 项，共 {all}"),
    "encode": ("encode", "编码"),
    "filter": ("filter", "筛选"),
    "first_stage": ("first stage", "初筛"),
    "rerank": ("re-rank", "重排"),
    "lexical": ("words", "词语"),
    "fold": ("fold", "合并"),
    "fetch": ("fetch", "读取"),
    "cached": ("known from before", "缓存"),
    "without_reranking": ("Show without re-ranking", "不重排"),
    "with_reranking": ("Show re-ranked", "重排"),
    "was": ("was #{rank}", "原第 {rank}"),
    "was_title": ("Place before re-ranking", "重排前的名次"),
    "rank_title": ("Place in the results", "名次"),
    "score": ("score", "得分"),
    "score_title": (
        "Orders the results: match plus weighted similarity where re-ranked, similarity otherwise",
        "排序依据：重排后为匹配分加权相似度，否则为相似度",
    ),
    "match": ("match", "匹配"),
    "match_title": ("How well the cross-modal encoder finds that the two belong together", "跨模态编码器给出的匹配分"),
    "match_chance_title": (
        "How likely the two belong together, as the cross-modal encoder finds; its raw logit is {logit}",
        "跨模态编码器认为二者相符的可能性；原始匹配分为 {logit}",
    ),
    "found_strong": ("Strong match", "匹配度高"),
    "found_weak": ("Weak match", "匹配度低"),
    "found_weak_hint": ("These may not be what you mean.", "这些结果可能不是你要找的。"),
    "found_none": ("Nothing found that fits. These come nearest.", "没有找到相符的结果，以下最为接近。"),
    "notice_unknown_language": (
        "{model} was trained on {known} only, and you asked in {language}: what it finds may have little to do with it.",
        "{model} 只用{known}训练过，而你的查询是{language}：结果可能与查询关系不大。",
    ),
    "notice_translated": (
        "{model} was trained on {known} only: searched for “{text}”, translated from {language}.",
        "{model} 只用{known}训练过：已从{language}译为“{text}”后搜索。",
    ),
    "notice_translator_failed": (
        "{model} was trained on {known} only, you asked in {language}, and the translator failed: searched for it as it is.",
        "{model} 只用{known}训练过，查询是{language}，而翻译失败了：已按原文搜索。",
    ),
    "similarity": ("similarity", "相似度"),
    "similarity_title": ("Cosine of the two vectors, from the first stage", "初筛的向量余弦"),
    "more_like_this": ("More like this", "更多相似"),
    "captions_of_photo": ("Captions that fit", "相符的描述"),
    "original": ("Original", "原图"),
    "open_original": ("Open the original photo", "打开原图"),
    "more_captions": ("{n} more captions", "另有 {n} 条描述"),
    "one_more_caption": ("1 more caption", "另有 1 条描述"),
    "photos_for_this": ("Photos for this sentence", "用这句话找照片"),
    "colon": (": ", "："),
    "comma": (", ", "，"),
    "photo": ("Photo {id}", "照片 {id}"),
    "regions_of": ("What a detector saw in {name}", "检测器在 {name} 中看到的区域"),
    "previous": ("Previous", "上一页"),
    "next": ("Next", "下一页"),
    "pages": ("Pages", "翻页"),
    "results": ("Results", "结果"),
    "what_to_find": ("What to find", "查找内容"),
    "home": ("Panoptes, to the start", "Panoptes 首页"),
    "skip": ("Skip to the results", "跳到结果"),
    "other_language": ("中文", "English"),
    "other_language_title": ("以中文显示", "Show in English"),
    "loading": ("The model is waking up", "模型正在加载"),
    "loading_detail": (
        "It takes a few seconds after a start. This page goes on by itself.",
        "启动后需要几秒钟，完成后页面会自动继续。",
    ),
    "loading_short": ("The model is loading…", "模型加载中…"),
    "failed": ("The model can't be loaded", "模型无法加载"),
    "nothing_indexed": ("Nothing is indexed yet", "尚未建立索引"),
    "nothing_indexed_detail": (
        "Give Panoptes a folder of photos, and this page fills by itself:",
        "给 Panoptes 一个照片文件夹，本页会自动显示内容：",
    ),
    "bad_request": ("That can't be searched", "无法搜索"),
    "not_found": ("Not here", "找不到"),
    "wrong": ("Something went wrong", "出错了"),
    "back": ("Back to the start", "返回首页"),
    "searching": ("Searching…", "搜索中…"),
    "version": ("version {n}", "版本 {n}"),
    "language_en": ("English", "英文"),
    "language_zh": ("Chinese", "中文"),
    "api": ("API", "API"),
}


def interface_language() -> str:
    """ "en" or "zh": what the address says (`?lang=`), else the browser's first choice of the two."""
    if not has_request_context():
        return LANGUAGES[0]
    chosen = request.args.get("lang")
    if chosen in LANGUAGES:
        return chosen
    return request.accept_languages.best_match(LANGUAGES, LANGUAGES[0])


def say(key: str, **values: object) -> str:
    """One phrase in the language of the interface, its braces filled in."""
    phrase = _WORDS[key][LANGUAGES.index(interface_language())]
    return phrase.format(**values) if values else phrase


def count(n: int, target: str) -> str:
    """ "1 photo", "1,204 photos"; `target` is "images" or "captions"."""
    return say(f"one_{target}") if n == 1 else say(f"many_{target}", n=f"{n:,}")


def notice(about) -> str:
    """A `search.translation.Notice` in the language of the interface."""
    known = say("comma").join(map(language_name, about.known))
    return say(f"notice_{about.code}", model=about.model, known=known, language=language_name(about.language), **about.values)


def language_name(code: str) -> str:
    """A caption's language by name."""
    return say(f"language_{code}") if f"language_{code}" in _WORDS else code
