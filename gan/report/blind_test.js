(() => {
  "use strict";

  const SIDE = 28;
  const section = document.getElementById("blind-test");
  const part = (name) => section.querySelector(`[data-part="${name}"]`);
  const stage = section.querySelector('[data-view="single"]');
  const questions = Number(section.dataset.questions);
  const sheet = new Image();

  // Decrypts the answers; `_mask` of blind_test.py describes the algorithm.
  function readAnswers() {
    let hash = 0x811c9dc5;
    const absorb = (byte) => (hash = Math.imul(hash ^ byte, 0x01000193) >>> 0);
    for (const character of section.dataset.sheet) absorb(character.charCodeAt(0));
    const masked = Array.from(atob(section.dataset.key), (character) => character.charCodeAt(0));
    const bytes = masked.map((byte, index) => byte ^ (absorb(index) >>> 24));
    const isRealTile = (_, tile) => Boolean((bytes[tile >> 3] << (tile & 7)) & 128);
    return Array.from({ length: Number(section.dataset.tiles) }, isRealTile);
  }

  // Random draws

  const random = () => crypto.getRandomValues(new Uint32Array(1))[0] / 2 ** 32;

  function shuffle(items) {
    for (let last = items.length - 1; last > 0; last--) {
      const other = Math.floor(random() * (last + 1));
      [items[last], items[other]] = [items[other], items[last]];
    }
    return items;
  }

  // Draw the images of a game. Each is real with probability 1/2, so that the number of right answers of a guessing
  // player is binomial with p = 1/2, whatever the guesses. The images come from two shuffled decks, which are
  // reshuffled only when one of them may run out.
  function deal() {
    if (Math.min(decks.real.length, decks.fake.length) < questions) {
      seenBefore = dealtBefore;
      decks.real = shuffle(tiles.filter((tile) => isReal[tile]));
      decks.fake = shuffle(tiles.filter((tile) => !isReal[tile]));
    }
    dealtBefore = true;
    return Array.from({ length: questions }, () => (random() < 0.5 ? decks.real : decks.fake).pop());
  }

  // Return whether the reader continues an unfinished game in this mode; otherwise start a new game.
  function continuesGame(newMode) {
    const continues = unfinished === newMode;
    if (!continues) dealt = deal();
    unfinished = mode = newMode;
    return continues;
  }

  // P(X <= most) for a binomial X with n trials of probability p.
  function atMost(most, n, p) {
    let choices = 1;
    let sum = 0;
    for (let k = 0; k <= most; k++) {
      sum += choices * p ** k * (1 - p) ** (n - k);
      choices *= (n - k) / (k + 1);
    }
    return sum;
  }

  // The exact 95 % interval of Clopper and Pearson 1934 (Biometrika 26, 404-413): every p with
  // P(X >= right) >= 2.5 % and P(X <= right) >= 2.5 %. Bisection finds both ends.
  function confidenceInterval(right, n) {
    const smallest = (isReached) => {
      let [low, high] = [0, 1];
      for (let round = 0; round < 50; round++) {
        const middle = (low + high) / 2;
        if (isReached(middle)) high = middle;
        else low = middle;
      }
      return high;
    };
    return [smallest((p) => 1 - atMost(right - 1, n, p) >= 0.025), smallest((p) => atMost(right, n, p) <= 0.025)];
  }

  // Views

  function show(name) {
    view = name;
    for (const each of section.querySelectorAll("[data-view]")) each.hidden = each.dataset.view !== name;
  }

  function paint(canvas, tile) {
    const columns = Number(section.dataset.columns);
    const [x, y] = [tile % columns, Math.floor(tile / columns)];
    canvas.width = canvas.height = SIDE;
    canvas.getContext("2d").drawImage(sheet, SIDE * x, SIDE * y, SIDE, SIDE, 0, 0, SIDE, SIDE);
    return canvas;
  }

  const picture = (tile) => paint(document.createElement("canvas"), tile);

  // One at a time

  function startSingle() {
    if (!continuesGame("single")) takenForReal = [];
    show("single");
    showQuestion();
    stage.focus({ preventScroll: true });
    stage.scrollIntoView({ block: "nearest" });
  }

  function showQuestion() {
    const title = `Image ${takenForReal.length + 1} of ${questions}`;
    part("single-progress").textContent = title;
    part("single-bar").style.width = `${(100 * takenForReal.length) / questions}%`;
    part("picture").setAttribute("aria-label", title);
    paint(part("picture"), dealt[takenForReal.length]);
    section.querySelector('[data-do="back"]').disabled = takenForReal.length === 0;
  }

  function answer(real) {
    takenForReal.push(real);
    if (takenForReal.length < questions) showQuestion();
    else finish();
  }

  function takeBack() {
    takenForReal.pop();
    if (takenForReal.length === 0) stage.focus(); // the button gets disabled and loses the focus
    showQuestion();
  }

  // As a board

  function startBoard() {
    if (!continuesGame("board")) {
      takenForReal = dealt.map(() => true);
      part("board").replaceChildren(...dealt.map(boardTile));
    }
    show("board");
    showMarks();
    moveTo(0);
  }

  function boardTile(tile, index) {
    const button = document.createElement("button");
    button.type = "button";
    button.tabIndex = index === 0 ? 0 : -1;
    button.setAttribute("aria-label", `Image ${index + 1}`);
    button.setAttribute("aria-pressed", "false");
    button.append(picture(tile));
    button.addEventListener("click", () => {
      takenForReal[index] = !takenForReal[index];
      button.setAttribute("aria-pressed", String(!takenForReal[index]));
      moveTo(index);
      showMarks();
    });
    return button;
  }

  function showMarks() {
    const marked = takenForReal.filter((real) => !real).length;
    part("board-progress").textContent = `${marked} of ${questions} marked as generated`;
  }

  // Tab enters and leaves the board as a whole; the arrow keys move inside it.
  function moveTo(index) {
    const buttons = part("board").children;
    if (!buttons[index]) return;
    for (const button of buttons) button.tabIndex = button === buttons[index] ? 0 : -1;
    buttons[index].focus();
  }

  function move(columns, rows) {
    const width = getComputedStyle(part("board")).gridTemplateColumns.split(" ").length;
    moveTo([...part("board").children].indexOf(document.activeElement) + columns + rows * width);
  }

  // Result

  function finish() {
    unfinished = "";
    const right = dealt.filter((tile, index) => isReal[tile] === takenForReal[index]).length;
    const [low, high] = confidenceInterval(right, questions);
    part("score").textContent =
      `${right} of ${questions} right (${Math.round((100 * right) / questions)}\u00a0%), ` +
      `95\u00a0% interval ${percent(low)} to ${percent(high)}\u00a0%`;
    part("verdict").textContent = verdict(low, high);
    part("interval").style.left = `${100 * low}%`;
    part("interval").style.width = `${100 * (high - low)}%`;
    part("dot").style.left = `${(100 * right) / questions}%`;
    part("seen").hidden = !seenBefore;
    showGroup("fooled", false, true);
    showGroup("caught", false, false);
    showGroup("recognised", true, true);
    showGroup("doubted", true, false);
    show("result");
    part("score").focus();
  }

  // Whole per cent; one decimal if rounding would move an end of the interval onto 50.
  function percent(share) {
    const whole = Math.round(100 * share);
    return whole === 50 ? (100 * share).toFixed(1) : String(whole);
  }

  function verdict(low, high) {
    if (low > 0.5) return "You can tell them apart: the interval lies above 50\u00a0%, which is guessing.";
    if (high < 0.5) return "You can tell them apart, but the wrong way round: the generated images look more real.";
    return `You could not tell them apart in ${questions} images: the interval contains 50\u00a0%, which is guessing.`;
  }

  function showGroup(name, real, taken) {
    const chosen = dealt.filter((tile, index) => isReal[tile] === real && takenForReal[index] === taken);
    part(name).querySelector("span").textContent = chosen.length;
    part(name).querySelector(".blind-tiles").replaceChildren(...chosen.map(picture));
  }

  function leave() {
    show("start");
    section.querySelector(`[data-do="${mode}"]`).focus();
  }

  // Mouse, touch and keyboard

  const actions = {
    single: startSingle,
    board: startBoard,
    real: () => answer(true),
    fake: () => answer(false),
    back: takeBack,
    leave,
    finish,
    again: () => actions[mode](),
  };

  const keys = {
    single: {
      r: actions.real,
      ArrowLeft: actions.real,
      g: actions.fake,
      ArrowRight: actions.fake,
      Backspace: takeBack,
      Escape: leave,
    },
    board: {
      ArrowLeft: () => move(-1, 0),
      ArrowRight: () => move(1, 0),
      ArrowUp: () => move(0, -1),
      ArrowDown: () => move(0, 1),
      f: finish,
      Escape: leave,
    },
  };

  // Keys have an effect if the focus is inside the section, or if nothing has the focus and the image is visible.
  function acceptsKeys() {
    if (section.contains(document.activeElement)) return true;
    const { top, bottom } = part("picture").getBoundingClientRect();
    return view === "single" && document.activeElement === document.body && bottom > 0 && top < innerHeight;
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !acceptsKeys()) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const onBoard = part("board").contains(event.target);
    const action = view === "board" && key !== "Escape" && !onBoard ? undefined : keys[view]?.[key];
    if (event.repeat && !(onBoard && key.startsWith("Arrow"))) {
      if (action || key === "Enter") event.preventDefault(); // a key that is held down counts once
    } else if (action) {
      event.preventDefault();
      action();
    }
  }

  const isReal = readAnswers();
  const tiles = isReal.map((_, tile) => tile);
  const decks = { real: [], fake: [] };
  let dealtBefore = false;
  let seenBefore = false;
  let view = "";
  let mode = ""; // of the last game: "single" or "board"
  let unfinished = ""; // mode of the game that is not finished
  let dealt = []; // tiles of the game
  let takenForReal = []; // the answers so far

  section.addEventListener("click", (event) => actions[event.target.closest("[data-do]")?.dataset.do]?.());
  document.addEventListener("keydown", onKey);
  sheet.addEventListener("load", () => {
    part("instead").hidden = true;
    show("start");
  });
  sheet.src = section.dataset.sheet;
})();
