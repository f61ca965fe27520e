"""Scripts that measure a page. Each returns a list of what is wrong."""

from __future__ import annotations

OVERFLOW = """() => {
  const root = document.documentElement, out = [];
  if (root.scrollWidth > root.clientWidth) {
    for (const one of document.body.querySelectorAll("*"))
      if (!one.closest(".wide") && one.getBoundingClientRect().right > root.clientWidth + 1)
        out.push(`${one.tagName} ${one.className}: ${one.textContent.trim().slice(0, 40)}`);
    out.push(`the page is ${root.scrollWidth} wide, the window ${root.clientWidth}`);
  }
  return out;
}"""
"""The elements that make the page wider than the window; tables may scroll in their boxes."""
CUT_OFF = """() => [...document.querySelectorAll("*")]
  .filter(one => ["auto", "scroll", "hidden"].includes(getComputedStyle(one).overflowX)
          && one.scrollWidth > one.clientWidth + 1)
  .map(one => `${one.tagName} ${one.className}: ${one.textContent.trim().slice(0, 40)}`)"""
"""The elements with hidden content."""
LABELS = """() => [...document.querySelectorAll("svg[role=img]")].flatMap(svg => {
  const shown = getComputedStyle(svg).overflow === "visible" ? document.body : svg;
  const frame = shown.getBoundingClientRect(), texts = [...svg.querySelectorAll("text")];
  const boxes = texts.map(one => one.getBoundingClientRect()), found = [];
  boxes.forEach((a, i) => {
    if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.top < frame.top - 1 || a.bottom > frame.bottom + 1)
      found.push(`${texts[i].textContent} is cut off`);
    boxes.slice(i + 1).forEach((b, j) => {
      if (a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom)
        found.push(`${texts[i].textContent} is over ${texts[i + 1 + j].textContent}`);
    });
  });
  return found;
})"""
"""The labels of charts and maps that are cut off, or over one another."""
