"""Variants of the networks in the lab, its notebooks and the reports."""

from typing import Any

from labkit.models import ENCODERS

VARIANTS: dict[str, dict[str, Any]] = {
    "unet width 64": {"name": "unet"},
    "unet width 32": {"name": "unet", "width": 32},
    "unet width 16": {"name": "unet", "width": 16},
    "unet bilinear": {"name": "unet", "up": "bilinear"},
    "unet report 000": {"name": "unet", "up": "interpolated", "padding": "reflect", "classes": 2},
    "unet report 003": {"name": "unet", "dropout": 0.1},
    "paper_unet": {"name": "paper_unet"},
    "resnet34_unet lab": {"name": "resnet34_unet"},
    "resnet34_unet unet": {"name": "resnet34_unet", "decoder": "unet"},
    **{
        f"report_resnet34_unet {report} {'as coded' if coded else 'as meant'}": {
            "name": "report_resnet34_unet",
            "report": report,
            "as_coded": coded,
        }
        for report in ("000", "001", "002", "003")
        for coded in ((False,) if report == "001" else (False, True))  # 001 shows no code of it
    },
    **{
        f"attention_unet {gate}": {"name": "attention_unet", "gate": gate}
        for gate in ("additive", "report", "report-printed")
    },
    **{f"encoder_unet {encoder}": {"name": "encoder_unet", "encoder": encoder} for encoder in ENCODERS},
}
"""Name in a table -> arguments of `build_model`."""
