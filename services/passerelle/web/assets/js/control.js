// The control room's series, redrawn at each look of the broker. Without it the page shows the line as it was made.
import uPlot from 'uplot';

const place = document.getElementById('serie');
const colour = (role) => getComputedStyle(document.documentElement).getPropertyValue(`--ds-color-${role}-border-default`);
const line = (label, role) => ({ label, stroke: () => colour(role), width: 2 });
const { flux, permit, redact, deny } = place.dataset;
const said = place.querySelector('title').textContent;

let chart;
const draw = (looks) => {
  const data = [looks.at, looks.permit, looks.redact, looks.deny];
  if (chart) { chart.setData(data); return; }
  place.replaceChildren();
  const text = () => colour('neutral');
  const axis = { stroke: text, grid: { stroke: text, width: 0.3 } };
  chart = new uPlot({
    width: place.clientWidth, height: 220, axes: [axis, axis],
    series: [{}, line(permit, 'accent'), line(redact, 'brand1'), line(deny, 'brand2')],
  }, data, place);
  chart.root.setAttribute('role', 'img');
  chart.root.setAttribute('aria-label', said);
  new ResizeObserver(() => chart.setSize({ width: place.clientWidth, height: 220 })).observe(place);
};
const stream = new EventSource(flux);
stream.onmessage = ({ data }) => draw(JSON.parse(data));
addEventListener('pagehide', () => stream.close());
