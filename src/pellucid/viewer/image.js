// The patches of an image, coloured by their scores, over the image itself where the reader has it at hand.

let picture = null; // the address of the image that was chosen

function imageOf({ v, state, set, links }) {
  if (!v.grid) return;
  const [rows, columns] = v.grid, peak = largest(v.tokens.map((t) => t.score)), opacity = picture ? state.opacity : 1;
  const cells = v.tokens.map((t, i) => {
    const named = `row ${Math.floor(i / columns) + 1}, column ${(i % columns) + 1}: ${signed(t.score, v.places)}`;
    return links.add(h("span", { class: "link patch tint", order: i, role: "img", named, style: { ...tinted(strength(t.score, peak)), opacity } }), [i]);
  });
  const tools = div("tools",
    slider("Opacity", "Opacity of the patches, in percent", state.opacity, (opacity) => set({ opacity })),
    toggle("Grid", state.grid, (grid) => set({ grid })),
    chooser("Lay over the image", "The image, from a file", "image/*", (file) => ((picture = URL.createObjectURL(file)), set({}))),
  );
  const style = { "grid-template-columns": `repeat(${columns}, 1fr)`, "aspect-ratio": `${columns} / ${rows}` };
  return section("Patches", tools, h("div", { class: `patches${state.grid ? " ruled" : ""}`, style }, picture && h("img", { src: picture, alt: "" }), cells), legend(peak, v.places));
}
