// The control room's series, redrawn at each look of the broker. Without it the page shows the line as it was made.
import uPlot from 'uplot';

const HEIGHT = 220;
const place = document.getElementById('serie');
const said = place.querySelector('title').textContent;

// A canvas knows no light-dark(): the colour that a role has now is asked of an element that has it.
const colour = (role) => {
  const probe = document.createElement('span');
  probe.className = `c-${role}`;
  place.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
};
const clock = new Intl.DateTimeFormat(document.documentElement.lang, { hour: '2-digit', minute: '2-digit', hour12: false });

let chart;
const draw = (looks) => {
  const data = [looks.at, looks.permit, looks.redact, looks.deny];
  if (chart) { chart.setData(data); return; }
  place.replaceChildren();
  const text = colour('text');
  const axis = { stroke: text, grid: { stroke: text, width: 0.2 }, ticks: { stroke: text, width: 0.2 } };
  const line = (role) => ({ stroke: colour(role), width: 2, points: { show: false } });
  chart = new uPlot({
    width: place.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    axes: [{ ...axis, values: (_, times) => times.map((at) => clock.format(at * 1000)) }, axis],
    series: [{}, line('permit'), line('redact'), line('deny')],
  }, data, place);
  chart.root.setAttribute('role', 'img');
  chart.root.setAttribute('aria-label', said);
  new ResizeObserver(() => chart.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
};
const stream = new EventSource(place.dataset.flux);
stream.onmessage = ({ data }) => draw(JSON.parse(data));
addEventListener('pagehide', () => stream.close());
