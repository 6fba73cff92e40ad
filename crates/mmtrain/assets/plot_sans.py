"""Makes PlotSans-Regular.otf, the font of plots/loss.png, from Inter (SIL OFL 1.1, see PlotSans.OFL.txt).

Usage: python plot_sans.py FILE    FILE is Inter-Regular.otf, 3.19 (Debian: package fonts-inter)
Needs: fonttools

A subset of ASCII and a few signs. Every glyph gets a contour without area at its origin: plotters draws a
glyph from the left edge of its bounds and forgets the side bearing, which would make letter spacing uneven.
The family is renamed, since it is a modified version.
"""

import pathlib
import sys

from fontTools import subset
from fontTools.pens.recordingPen import DecomposingRecordingPen
from fontTools.pens.t2CharStringPen import T2CharStringPen
from fontTools.ttLib import TTFont

SIGNS = [0xB7, 0xD7, 0x2013, 0x2014, 0x2026, 0x2212]
KEPT_NAMES = {0, 2, 5, 8, 9, 13, 14}


def cut(font):
    options = subset.Options(layout_features=[], hinting=False, desubroutinize=True, name_IDs=["*"])
    options.drop_tables += ["GPOS", "GSUB", "GDEF"]
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=[*range(0x20, 0x7F), *SIGNS])
    subsetter.subset(font)


def mark_origins(font):
    glyphs, strings = font.getGlyphSet(), font["CFF "].cff.topDictIndex[0].CharStrings
    for name in font.getGlyphOrder():
        outline = DecomposingRecordingPen(glyphs)
        glyphs[name].draw(outline)
        if not outline.value:
            continue
        old = strings[name]
        pen = T2CharStringPen(glyphs[name].width, glyphs)
        pen.moveTo((0, 0))
        pen.lineTo((0, 1))
        pen.closePath()
        outline.replay(pen)
        strings[name] = pen.getCharString(private=old.private, globalSubrs=old.globalSubrs)
        # T2CharStringPen writes the width as is; CFF wants the difference from nominalWidthX.
        strings[name].program[0] = glyphs[name].width - old.private.nominalWidthX


def rename(font):
    names, cff = font["name"], font["CFF "].cff
    names.names = [record for record in names.names if record.nameID in KEPT_NAMES]
    full = "Plot Sans Regular"
    made = "Modified version (subset) of Inter"
    for name_id, value in {1: "Plot Sans", 3: full, 4: full, 6: "PlotSans-Regular", 10: made}.items():
        names.setName(value, name_id, 3, 1, 0x409)
    cff.fontNames = ["PlotSans-Regular"]
    cff.topDictIndex[0].FullName, cff.topDictIndex[0].FamilyName = full, "Plot Sans"


font = TTFont(sys.argv[1], recalcTimestamp=False)
cut(font)
mark_origins(font)
rename(font)
font.save(pathlib.Path(__file__).with_name("PlotSans-Regular.otf"))
