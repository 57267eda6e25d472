"""The phrases of the page, in English and in Chinese."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import has_request_context, request

from search.query.translation import NAMES
from web.pages.language_names import CHINESE_NAMES

if TYPE_CHECKING:
    from search.query.translation import Notice

LANGUAGES = ("en", "zh")

_PHRASES: dict[str, tuple[str, str]] = {
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
    "photo_limit": (
        "JPEG, PNG, WebP, raw files and others, up to {mb} MB.",
        "支持 JPEG、PNG、WebP、RAW 等格式，最大 {mb} MB。",
    ),
    "find_similar": ("Find similar photos", "查找相似照片"),
    "find_captions": ("Find captions that fit", "查找相符的描述"),
    "drop_here": ("Drop the photo to search with it", "松开鼠标，用这张照片搜索"),
    "too_large": ("That photo is larger than {mb} MB.", "照片超过 {mb} MB。"),
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
    "nothing_fits_filter": ("Nothing in this collection fits the filter.", "图库中没有符合筛选条件的内容。"),
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
    "notice_nothing_known": (
        "{model} knows nothing of {words}: what it finds has nothing to do with your query.",
        "{model} 完全不认识 {words}：结果与查询无关。",
    ),
    "notice_some_unknown": (
        "{model} does not know {words}: what it finds may not fit that part of your query.",
        "{model} 不认识 {words}：结果可能与这一部分无关。",
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
    "api": ("API", "API"),
    "filters": ("Filters", "筛选"),
    "add_filter": ("Add:", "添加："),
    "remove_filter": ("Remove the filter {what}", "移除筛选 {what}"),
    "without_filters": ("Search without the filter", "不带筛选搜索"),
    "filter_label": ("Only what fits this filter", "只显示符合条件的结果"),
    "filter_example": ("width >= 640 and language = 'zh'", "width >= 640 and language = 'zh'"),
    "apply": ("Apply", "应用"),
    "landscape": ("Landscape", "横向"),
    "portrait": ("Portrait", "纵向"),
    "large": ("Large", "大图"),
    "with_language_en": ("With an English caption", "有英文描述"),
    "with_language_zh": ("With a Chinese caption", "有中文描述"),
    "find_by": ("Find by", "查找方式"),
    "mode_vector": ("Meaning", "语义"),
    "mode_lexical": ("Words", "词语"),
    "mode_hybrid": ("Both", "两者"),
    "add_words": ("Words to add (optional)", "附加文字（可选）"),
    "add_words_placeholder": ("Add words, or leave this empty", "可再加文字描述"),
    "remove_photo": ("Take the photo out of the search", "从搜索中移除照片"),
    "photo_and_words": ("Results for this photo with “{what}”", "此照片加“{what}”的结果"),
    "more": ("More", "更多"),
    "loading_more": ("Fetching more…", "正在加载…"),
    "more_failed": ("The rest can't be fetched.", "无法加载后面的结果。"),
    "list_changed": ("The collection has changed since.", "图库已更新。"),
    "start_anew": ("Show the list anew", "重新显示"),
    "the_end": ("That was all.", "已全部显示。"),
    "settling": ("First results, putting them in order…", "初步结果，正在排序…"),
    "open_photo": ("Open photo {id}", "查看照片 {id}"),
    "back_to_results": ("Back to the results", "返回结果"),
    "previous_photo": ("Previous photo", "上一张"),
    "next_photo": ("Next photo", "下一张"),
    "why_found": ("Why it was found", "为何找到它"),
    "why_title": ("For “{what}”", "针对“{what}”"),
    "stage": ("Stage", "阶段"),
    "rank": ("Rank", "名次"),
    "by_meaning": ("Meaning: similarity of the vectors", "语义：向量相似度"),
    "by_words": ("Words of its captions", "描述中的词语"),
    "by_reading": ("Read together by the cross-modal encoder", "跨模态编码器对照"),
    "in_the_end": ("In the end", "最终"),
    "not_read": ("Not re-ranked: it was not among the first {n}.", "未重排：不在前 {n} 名之内。"),
    "not_reranked": ("Nothing was re-ranked.", "未进行重排。"),
    "far_down": ("Not among the first {n} results.", "不在前 {n} 个结果之内。"),
    "not_found_by": ("The question does not lead to this photo.", "该查询找不到这张照片。"),
    "chance_strong": ("Strong match: {chance} likely to fit", "匹配度高：{chance} 可能相符"),
    "chance_weak": ("Weak match: {chance} likely to fit", "匹配度低：{chance} 可能相符"),
    "chance_none": ("Hardly a match: {chance} likely to fit", "几乎不匹配：{chance} 可能相符"),
    "where_seen": ("Where its words are seen", "词语对应的位置"),
    "photo_as_it_is": ("The photo as it is", "原图"),
    "all_words": ("All of it", "整句"),
    "attention_only": ("Bright is where the cross-modal encoder looked most.", "越亮之处，跨模态编码器关注越多。"),
    "its_captions": ("Its captions", "照片描述"),
    "has_no_captions": ("Nobody has described this photo.", "这张照片没有描述。"),
    "text_in_photo": ("Text in the photo", "照片中的文字"),
    "show_texts": ("Show where it is", "在照片上标出"),
    "captions_that_fit": ("Captions of the collection that fit", "图库中相符的描述"),
    "its_own": ("its own", "原有"),
    "about_photo": ("About the photo", "照片信息"),
    "file": ("File", "文件"),
    "dimensions": ("Pixels", "像素"),
    "size_on_disk": ("Size", "大小"),
    "all_similar": ("All that are like it", "全部相似照片"),
    "collection": ("Collection", "图库"),
    "the_collection": ("The collection {name}", "图库 {name}"),
    "holds": ("What it holds", "内容"),
    "photos_by_size": ("Photos by size", "照片大小"),
    "photos_by_shape": ("Photos by shape, width over height", "照片形状（宽 / 高）"),
    "captions_by_language": ("Captions by language", "描述语言"),
    "being_built": ("Being indexed", "正在建立索引"),
    "progress_of": ("{done} of {total} photos", "{done} / {total} 张照片"),
    "time_left": ("about {n} s left", "约剩 {n} 秒"),
    "maybe_killed": (
        "A run that was killed stands here until the next one begins.",
        "被中断的任务会留在这里，直到下一次运行。",
    ),
    "nothing_built": ("Nothing is being indexed.", "当前没有索引任务。"),
    "about_to_begin": ("about to begin", "即将开始"),
    "stop_building": ("Stop", "停止"),
    "stop_building_title": (
        "Stop indexing {source}; what was done so far is kept for the next run",
        "停止索引 {source}，已完成的部分留给下一次",
    ),
    "build_failed": ("The last run failed", "上次任务失败"),
    "sources": ("Where it comes from", "来源"),
    "bring_up_to_date": ("Bring up to date", "更新"),
    "bring_up_to_date_title": (
        "Index {source} again: what is new, changed or gone",
        "重新索引 {source} 中新增、更改和删除的内容",
    ),
    "not_done": ("That can't be done now", "暂时无法执行"),
    "versions": ("Versions", "版本"),
    "published": ("Published", "发布时间"),
    "weights": ("Weights", "权重"),
    "runs": ("Index runs", "索引任务"),
    "source": ("Source", "来源"),
    "began": ("Began", "开始时间"),
    "state": ("State", "状态"),
    "state_starting": ("starting", "启动中"),
    "state_running": ("running", "进行中"),
    "state_done": ("done", "完成"),
    "state_failed": ("failed", "失败"),
    "state_interrupted": ("interrupted", "中断"),
    "added": ("Added", "新增"),
    "unchanged": ("Unchanged", "未变"),
    "could_not_be_read": ("Could not be read", "无法读取"),
    "all_read": ("Every photo could be read.", "所有照片都可读取。"),
    "and_more": ("and {n} more", "另有 {n} 项"),
    "reason": ("Reason", "原因"),
    "written_by": ("written by {model}", "由 {model} 撰写"),
    "written_by_model": ("written by a model", "由模型撰写"),
    "generated_count": ("{n} of them written by a model", "其中 {n} 条由模型撰写"),
    "not_kept": ("shown here only", "仅在此显示"),
    "write_caption": ("Have a caption written", "让模型写一条描述"),
    "edit_caption": ("Make it a caption of your own", "改成你自己的描述"),
    "one_caption": ("Caption", "描述"),
    "save_caption": ("Save", "保存"),
    "log_probability": ("Log-probability:", "对数概率："),
    "api_title": ("The HTTP API", "HTTP 接口"),
    "no_access": ("This needs a token", "需要令牌"),
    "busy": ("Too much at once", "请求过多"),
}


def interface_language() -> str:
    """ "en" or "zh": the one in the address (`?lang=`), else the one that the browser prefers."""
    if not has_request_context():
        return LANGUAGES[0]
    chosen = request.args.get("lang")
    if chosen in LANGUAGES:
        return chosen
    return request.accept_languages.best_match(LANGUAGES, LANGUAGES[0])


def say(key: str, **values: object) -> str:
    """A phrase in the language of the interface, with its placeholders filled in."""
    phrase = _PHRASES[key][LANGUAGES.index(interface_language())]
    return phrase.format(**values) if values else phrase


def count(n: int, target: str) -> str:
    """ "1 photo", "1,204 photos"; `target` is "images" or "captions"."""
    return say(f"one_{target}") if n == 1 else say(f"many_{target}", n=f"{n:,}")


def notice(about: Notice) -> str:
    """A notice about an answer, in the language of the interface."""
    known = say("comma").join(map(language_name, about.known))
    return say(f"notice_{about.code}", model=about.model, known=known, language=language_name(about.language), **about.values)


def language_name(code: str) -> str:
    """The name of a language, in the language of the interface; its code if it has no name here."""
    names = CHINESE_NAMES if interface_language() == "zh" else NAMES
    return names.get(code, code)
