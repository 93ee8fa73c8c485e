// The patches of an image, coloured by their scores, over the image itself where the reader has it at hand.

let picture = null; // the address of the image that was chosen

function imageOf(v, state, set, links) {
  if (!v.grid) return null;
  const [rows, columns] = v.grid, peak = largest(v.tokens.map((t) => t.score));
  const cells = v.tokens.map((t, i) => links.add(h("span", { class: "link patch tint", tabindex: i ? "-1" : "0", role: "img", "aria-label": `row ${Math.floor(i / columns) + 1}, column ${(i % columns) + 1}: ${signed(t.score, v.places)}`, style: { ...tinted(strength(t.score, peak)), opacity: picture ? state.opacity : 1 } }), [i]));
  const opacity = h("label", { class: "slider" }, h("span", {}, "Opacity"), h("input", { type: "range", min: 0, max: 100, value: 100 * state.opacity, "aria-label": "Opacity of the patches, in percent", "data-key": "opacity", on: { input: (event) => set({ opacity: event.target.value / 100 }) } }));
  const file = h("label", { class: "menu" }, h("span", {}, "Lay over the image"), h("input", { type: "file", accept: "image/*", "aria-label": "The image, from a file", on: { change: (event) => ((picture = event.target.files[0] ? URL.createObjectURL(event.target.files[0]) : null), set({})) } }));
  const under = picture ? h("img", { src: picture, alt: "" }) : null;
  return section("Patches", h("div", { class: "tools" }, opacity, file), h("div", { class: "patches", style: { "grid-template-columns": `repeat(${columns}, 1fr)`, "aspect-ratio": `${columns} / ${rows}` } }, under, cells), legend(peak, v.places));
}
