// The film of a training: the grid at a snapshot, chosen with the slider or by a point of the curves.
(() => {
  const film = document.querySelector(".film");
  if (!film) return;
  const slider = film.querySelector("input");
  const words = film.querySelector("output");
  const grids = [...film.querySelectorAll("img")];
  const marks = grids.map((_, index) =>
    ["point", "recall"].map((kind) => document.getElementById(`quality-${kind}-${grids[index].dataset.point}`)));

  const show = (index) => {
    slider.value = index;
    grids.forEach((grid, at) => { grid.hidden = at !== index; });
    marks.forEach((pair, at) => pair.forEach((mark) => mark?.classList.toggle("marked", at === index)));
    words.textContent = grids[index].dataset.words;
    slider.setAttribute("aria-valuetext", grids[index].dataset.words);
  };
  slider.addEventListener("input", () => show(Number(slider.value)));
  marks.forEach((pair, index) => pair.forEach((mark) => {
    mark?.addEventListener("pointerenter", () => show(index));
    mark?.addEventListener("click", () => show(index));
  }));
  slider.disabled = false;
  show(grids.length - 1);
})();
