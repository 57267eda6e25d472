"""The answers of the `model` commands as lines of text, made from their JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SHOWN = 12


def import_lines(report: dict[str, Any]) -> Iterator[str]:
    """What became of each tensor of a checkpoint; from `ImportReport.as_json()`."""
    yield (
        f"{report['name']} is {report['title']} ({report['network']}), fingerprint {report['fingerprint']}, in "
        f"{report['folder']}"
    )
    if report["only_reranks"]:
        yield f"  it has no vectors: name it with --reranker {report['name']} beside a model that finds"
    if report["writes_captions"]:
        yield f"  it writes captions: name it with --captioner {report['name']}"
    yield f"  loaded      {report['loaded']} tensors, {report['parameters']:,} parameters"
    yield f"  ignored     {sum(report['ignored'].values())}"
    for reason, count in sorted(report["ignored"].items()):
        yield f"    {count:5} {reason}"
    for name, where in sorted(report["taken"].items()):
        yield f"  taken       {name} is {where}"
    yield f"  missing     {len(report['missing'])}"
    for name in report["filled_in"]:
        yield f"    filled in: {name}, which no ranking depends on"
    yield f"  left over   {len(report['left_over'])}"
    for name in report["left_over"][:SHOWN]:
        yield f"    {name}, which no rule knows"
    if len(report["left_over"]) > SHOWN:
        yield f"    and {len(report['left_over']) - SHOWN} more"


def list_lines(found: dict[str, Any]) -> Iterator[str]:
    """One line for each model; from `{"models": ModelRegistry.list()}`."""
    for model in found["models"]:
        if "problem" in model:
            yield f"{model['name']:20} damaged: {model['problem']}"
        else:
            yield (
                f"{model['name']:20} {model['fingerprint']}  {model['network']:12} {_mb(model['bytes']):>8}  "
                f"{_reads(model)}  {', '.join(model['languages'])}"
            )


def model_lines(model: dict[str, Any]) -> Iterator[str]:
    """One model in full; from `ModelRegistry.describe()`."""
    yield f"{model['name']}: {model['network']}, fingerprint {model['fingerprint']}, {_mb(model['bytes'])} in {model['folder']}"
    if model["searches"]:
        yield f"  languages   {', '.join(model['languages'])}; sentences of up to {model['text_length']} tokens"
    if model["captions"]:
        yield from _caption_lines(model["captions"])
    if not model["searches"] and model["captions"]["encoder"]:
        yield f"  reads       what the model {model['captions']['encoder']} keeps of a photo"
    elif model["regions"]:
        yield (
            f"  reads       up to {model['regions']} regions of a detector (.npz), each with {model['region_width']} features"
        )
    else:
        yield f"  photos      {model['image_size']} px ({model['preprocessing']}), patches of {model['patch_size']} px"
    stacks = ", ".join(f"{name} {count}" for name, count in model["layers"].items())
    yield f"  layers      {stacks}, {model['hidden_size']} wide"
    length, width = model["token_shape"]
    vectors = f"{model['dim']}-d vectors" if model["dim"] else "no vectors: it re-ranks what another model finds (--reranker)"
    if model["searches"]:
        yield f"  kept        {vectors}; {length} x {width} numbers an image, {2 * length * width:,} bytes"
    if model["imported"]:
        yield f"  imported    from {model['imported'].get('file')}, sha256 {model['imported'].get('sha256')}"


def _caption_lines(captions: dict[str, Any]) -> Iterator[str]:
    yield (
        f"  writes      captions in {', '.join(captions['languages'])}, of up to {captions['length']} pieces "
        f"of {captions['vocab_size']} ({captions['network']}, {captions['fingerprint']}, {_mb(captions['bytes'])})"
    )


def _reads(model: dict[str, Any]) -> str:
    if not model["searches"] and model["captions"]["encoder"]:
        return f"writes of what {model['captions']['encoder']} keeps"
    reads = f"{model['regions']} regions" if model["regions"] else f"{model['image_size']} px"
    if not model["searches"]:
        return f"{reads}, writes captions"
    return reads if model["dim"] else f"{reads}, only re-ranks"


def _mb(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def quantize_lines(report: dict[str, Any]) -> Iterator[str]:
    """The number of products in 8 bits; from the JSON of `model quantize`."""
    yield f"8-bit graphs of {report['name']} in {report['folder']}:"
    for entry, count in report["products"].items():
        yield f"  {entry:<10} {count} products in 8 bits"


def export_lines(report: dict[str, Any]) -> Iterator[str]:
    """The graphs that were exported; from the JSON of `model export`."""
    yield f"Graphs of {report['name']} in {report['folder']}:"
    for entry, size in report["graphs"].items():
        yield f"  {entry:<10} {size / 1000:,.0f} kB"
