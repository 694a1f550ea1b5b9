"""Where things are on the page: every selector that the browser tests use, and when the page is at rest.

It knows Streamlit's markup and the labels of our own widgets, and nothing of what the tests ask. When
Streamlit renames a part, this is the file to change.
"""

APP = "[data-testid=stApp]"
MAIN = "[data-testid=stMain]"
SIDEBAR = "[data-testid=stSidebar]"
EXCEPTION = "[data-testid=stException]"
ALERT = "[data-testid=stAlert]"
CODE = "[data-testid=stCode]"
POINT = ".mark-symbol path"
METRIC = "[data-testid=stMetric]"
CHART = "[data-testid=stVegaLiteChart]"
TAB = "[role=tab]"

RESTING = """() => {
  const app = document.querySelector('[data-testid=stApp]');
  const state = app && app.dataset;
  return Boolean(app)
    && state.testScriptState === 'notRunning'
    && state.testConnectionState === 'CONNECTED'
    && !document.querySelector('[data-testid=stSkeleton], .stSkeleton, [data-stale=true]')
    && [...document.querySelectorAll('[data-testid=stVegaLiteChart]')]
         .every(chart => !chart.offsetParent || chart.querySelector('canvas, svg'))
    && document.fonts.status === 'loaded';
}"""
"""The script has ended, no part is a placeholder or of the answer before, charts that show are drawn."""

STICKS_OUT = """() => {
  const wide = document.documentElement.clientWidth;
  const scrolls = part => ['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(part).overflowX);
  const right = part => part.getBoundingClientRect().right;
  const name = part => part.dataset.testid || part.tagName;
  const contained = part => {
    const above = part.parentElement;
    if (!above || above.matches('[data-testid=stMain]')) return false;
    return scrolls(above) && right(above) <= wide + 1 || contained(above);
  };
  const scrollers = [document.documentElement, ...document.querySelectorAll('[data-testid=stMain]')];
  return [
    ...scrollers.filter(part => part.scrollWidth > part.clientWidth + 1)
      .map(part => `${name(part)} scrolls: ${part.scrollWidth} in ${part.clientWidth}`),
    ...[...document.querySelectorAll('[data-testid=stMain] *')]
      .filter(part => part.offsetParent && right(part) > wide + 1 && !contained(part))
      .map(part => `${name(part)} ends at ${right(part)} of ${wide}`),
  ];
}"""
"""What makes the page scroll sideways; what scrolls inside a frame of its own, as a table does, may."""
