"""What the card of a detector says: which models judge and mask its boxes, and how boxes are chosen."""

from __future__ import annotations

from dataclasses import dataclass

from mosaicell.networks.card_entries import CardEntries


@dataclass(frozen=True)
class DetectionSettings:
    """How boxes are chosen.

    Attributes
    ----------
    proposals, proposal_score
        So many of a tile at most are looked at again, and none that is less sure.
    score, iou
        Of a detector's boxes: the least score, and the IoU above which the surer of two stays.
    fusion_iou, fusion_score
        As `fuse_boxes` takes them.
    mask_score
        Boxes that are less sure after the fusion get no mask and are left out.
    crops
        Masks that are made at once.
    mask_side
        Of a mask, in y and x.
    """

    proposals: int
    proposal_score: float
    score: float
    iou: float
    fusion_iou: float
    fusion_score: float
    mask_score: float
    crops: int
    mask_side: int


@dataclass(frozen=True)
class DetectionCard:
    """What the card of a detector says beside that of other models.

    Attributes
    ----------
    heads, masks
        Names of the models that judge its boxes, and that make masks for them.
    weight
        How much it counts in the fusion.
    settings
        How boxes are chosen. Of several detectors the first one's count, and its masks.
    """

    heads: str
    masks: str
    weight: float
    settings: DetectionSettings

    @property
    def parts(self) -> tuple[str, str]:
        """Names of the models."""
        return self.heads, self.masks


def read_detection(entries: CardEntries) -> DetectionCard:
    """Read the section "detection" of a card."""
    return DetectionCard(
        heads=entries.text("detection.heads"),
        masks=entries.text("detection.masks"),
        weight=entries.number("detection.weight", 1e-3, 1e3),
        settings=DetectionSettings(
            proposals=entries.whole("detection.proposals"),
            proposal_score=entries.number("detection.proposal_score", 0, 1),
            score=entries.number("detection.score", 0, 1),
            iou=entries.number("detection.iou", 0, 1),
            fusion_iou=entries.number("detection.fusion_iou", 0, 1),
            fusion_score=entries.number("detection.fusion_score", 0, 1),
            mask_score=entries.number("detection.mask_score", 0, 1),
            crops=entries.whole("detection.crops"),
            mask_side=entries.whole("detection.mask_side"),
        ),
    )
