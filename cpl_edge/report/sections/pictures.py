"""The crops before and after, or why there are none."""

from __future__ import annotations

from cpl_edge.report.document import Block, Commands, Crop, Crops, Paragraph, Section


def pictures(crops: tuple[Crop, ...], reason: str) -> Section:
    """Crops with a slider.

    Args:
        crops: none where they could not be made, or were not asked for.
        reason: why there are none.
    """
    blocks: list[Block] = []
    if crops:
        blocks.append(
            Paragraph(
                "Photos that come inside scikit-image, degraded synthetically and restored by the "
                "shipped model when this page was made. Move the slider, or focus it and press "
                "the arrow keys. The pictures on this page are compressed; the figures are not."
            )
        )
        blocks.append(Crops(crops))
    else:
        blocks.append(Paragraph(f"Not made: {reason}."))
    blocks.append(Commands(("python -m cpl_edge.demo", "python -m cpl_edge.report")))
    return Section("crops", "Before and after", tuple(blocks))
