/* Small helpers to build a figure's elements. */

let last = 0;

/** A name that no other element of the page has. */
export function uniqueId(stem) {
  return `live-${stem}-${++last}`;
}

/**
 * An element with properties, attributes and children.
 *
 * @param {string} tag such as "p", or "p.live-note" with classes
 * @param {Object} [settings] "on..." are listeners, others are properties if
 *     the element has them and attributes if not
 * @param {...(Node|string)} children
 */
export function make(tag, settings = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.classList.add(...classes);
  for (const [key, value] of Object.entries(settings)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/**
 * A range input with its name before it and its value in words behind it.
 *
 * @param {string} name
 * @param {{min, max, step, value}} range
 * @param {function(number): string} words says a value to the reader
 * @param {function(number)} onChange is told each new value
 * @returns {{element: Node, set: function({min, max, step, value})}}
 */
export function slider(name, range, words, onChange) {
  const id = uniqueId("range");
  const output = make("output", { htmlFor: id, "aria-live": "off" });
  const input = make("input", { type: "range", id });
  const say = () => {
    output.textContent = words(input.valueAsNumber);
    input.setAttribute("aria-valuetext", output.textContent);
  };
  const set = ({ value, ...limits }) => {
    Object.assign(input, limits);
    input.value = value;
    say();
  };
  input.addEventListener("input", () => {
    say();
    onChange(input.valueAsNumber);
  });
  set(range);
  const label = make("label", { htmlFor: id }, name);
  return { element: make("div.live-slider", {}, label, input, output), set };
}

/**
 * A list to choose from, with its name before it.
 *
 * @param {string} name
 * @param {Object<string, string>} choices what the reader reads, by value
 * @param {string} value the first choice
 * @param {function(string)} onChange is told each new value
 * @returns {Node}
 */
export function chooser(name, choices, value, onChange) {
  const id = uniqueId("choice");
  const options = Object.entries(choices).map(([key, text]) =>
    make("option", { value: key }, text),
  );
  const select = make(
    "select",
    { id, onchange: () => onChange(select.value) },
    ...options,
  );
  select.value = value;
  const label = make("label", { htmlFor: id }, name);
  return make("div.live-choice", {}, label, select);
}
