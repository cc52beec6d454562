"""The pictures of a report, with text for people who cannot see them."""

from __future__ import annotations

from flowernoise.analysis.views.pictures import Picture
from flowernoise.analysis.views.sheets import ContactSheet
from flowernoise.catalogue.label_words import label_words
from flowernoise.show import contact_sheet, plot
from flowernoise.show.document import Figure

FOLDER = "report"  # of the pictures, beside the report in Markdown
QUALITY = 70  # of JPEG


def of_picture(picture: Picture) -> Figure:
    """A plot, as SVG."""
    data = plot.draw(picture, "svg")
    return Figure(f"{FOLDER}/{picture.name}.svg", "image/svg+xml", data, plot.alt(picture), plot.caption(picture))


def of_sheet(sheet: ContactSheet) -> Figure:
    """A contact sheet, as JPEG."""
    data = contact_sheet.jpeg(sheet, quality=QUALITY)
    title = str(contact_sheet.title(sheet))
    caption = (
        title if sheet.kind == "draw" else title[0].upper() + title[1:]
    )  # the name of a noise model stays as it is
    return Figure(f"{FOLDER}/{sheet.name}.jpg", "image/jpeg", data, _sheet_alt(sheet), f"{caption}.")


def _sheet_alt(sheet: ContactSheet) -> str:
    classes = sheet.classes
    if sheet.kind == "mistakes":
        most_confident = [
            f"{classes[photo.true]} taken for {classes[photo.predicted]} at {100 * photo.probability:.0f} %"
            for photo in sheet.photos[:3]
            if photo.predicted is not None and photo.probability is not None
        ]
        return f"Contact sheet of {len(sheet.photos)} misclassified test photos" + (
            f". The most confident mistakes: {', '.join(most_confident)}." if most_confident else "."
        )
    shown = f"Contact sheet of {len(sheet.photos)} training photos with their labels."
    if sheet.kind == "clean":
        return shown
    have = f"{sheet.wrong} of them {'has a' if sheet.wrong == 1 else 'have'}"
    wrong = f"{have} {label_words(sheet).wrong} {'label' if sheet.wrong == 1 else 'labels'}"
    mixed_up = dict.fromkeys((classes[p.true], classes[p.given]) for p in sheet.photos if p.true != p.given)
    examples = [f"{true} labelled {given}" for true, given in mixed_up][:3]
    return f"{shown} {wrong}" + (f", such as {', '.join(examples)}." if examples else ".")
