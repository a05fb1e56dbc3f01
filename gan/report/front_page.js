// Say how long ago the last run was: a page that no run writes any more looks like that of this morning.
document.querySelectorAll(".large time").forEach((time) => {
  const days = Math.floor((Date.now() - new Date(time.dateTime)) / 86400000);
  if (days > 0) time.append(` (${days === 1 ? "1 day" : `${days} days`} ago)`);
});

// Search, filter and sort the cards of all runs.
(() => {
  const form = document.querySelector(".filter");
  if (!form) return;
  const cards = [...document.querySelectorAll(".card")];
  const number = (card, key, missing) => card.dataset[key] === "" ? missing : Number(card.dataset[key]);
  const orders = {
    published: (a, b) => number(b, "published", 0) - number(a, "published", 0),
    distance: (a, b) => number(a, "distance", 1e9) - number(b, "distance", 1e9),
    recall: (a, b) => number(b, "recall", -1) - number(a, "recall", -1),
    name: (a, b) => a.dataset.name.localeCompare(b.dataset.name),
  };
  const show = () => {
    const words = form.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (card) => (!form.recipe.value || card.dataset.recipe === form.recipe.value)
      && words.every((word) => card.textContent.toLowerCase().includes(word));
    cards.sort(orders[form.order.value]).forEach((card) => {
      card.hidden = !fits(card);
      card.parentNode.append(card);
    });
    const shown = cards.filter((card) => !card.hidden).length;
    form.querySelector("output").textContent = `${shown} of ${cards.length} runs`;
  };
  form.hidden = false;
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
})();
