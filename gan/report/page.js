// Show the image grid of one snapshot, chosen with the slider or by a point of the curves.
(() => {
  const film = document.querySelector(".film");
  if (!film) return;
  const slider = film.querySelector("input");
  const words = film.querySelector("output");
  const grids = [...film.querySelectorAll("img")];
  // A point of the curves shows the nearest grid, since not every snapshot has a grid.
  const points = document.querySelectorAll('[id^="quality-point-"]').length;
  const marks = grids.map(() => []);
  const nearest = (point) => grids.reduce((best, grid, index) =>
    Math.abs(grid.dataset.point - point) < Math.abs(grids[best].dataset.point - point) ? index : best, 0);
  for (let point = 0; point < points; point++) {
    for (const curve of ["point", "recall"]) {
      const mark = document.getElementById(`quality-${curve}-${point}`);
      if (mark) marks[nearest(point)].push({ mark, own: Number(grids[nearest(point)].dataset.point) === point });
    }
  }

  const show = (index) => {
    slider.value = index;
    grids.forEach((grid, at) => { grid.hidden = at !== index; });
    marks.forEach((pair, at) => pair.forEach(({ mark, own }) => mark.classList.toggle("marked", own && at === index)));
    words.textContent = grids[index].dataset.words;
    slider.setAttribute("aria-valuetext", grids[index].dataset.words);
  };
  slider.addEventListener("input", () => show(Number(slider.value)));
  marks.forEach((pair, index) => pair.forEach(({ mark }) => {
    mark.addEventListener("pointerenter", () => show(index));
    mark.addEventListener("click", () => show(index));
  }));
  slider.disabled = false;
  show(grids.length - 1);
})();
