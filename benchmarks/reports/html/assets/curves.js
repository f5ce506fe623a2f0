// Curves: the pointer or the slider chooses a time; a rule marks it and the table reads it out.
function attach(chart) {
  const curves = JSON.parse(chart.querySelector("script").textContent);
  const [plot, slider] = [chart.querySelector(".plot"), chart.querySelector("input")];
  const style = getComputedStyle(plot);
  const [left, right] = ["--left", "--right"].map((name) => Number(style.getPropertyValue(name)));

  function read() {
    const time = Number(slider.value);
    chart.querySelector(".time").textContent = `${time} %`;
    slider.ariaValueText = `${time} % of training`;
    plot.style.setProperty("--time", time / 100);
    chart.querySelectorAll("td").forEach((field, i) => (field.textContent = value(curves[i], time)));
  }

  slider.addEventListener("input", read);
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const share = ((event.clientX - box.left) / box.width - left) / (right - left);
    slider.value = Math.round(100 * share);
    read();
  });
  read();
}

function value(curve, time) {
  if (curve.mean[time] === null) return "–";
  const spread = curve.sd ? ` ± ${curve.sd[time].toFixed(3)}` : "";
  return curve.mean[time].toFixed(3) + spread;
}

document.querySelectorAll(".chart").forEach(attach);
