// The patches of an image, coloured by their scores, over the image itself where the reader has it at hand.

let picture = null; // the address of the image that was chosen

function imageOf({ v, state, set, links }) {
  if (!v.maps.length) return;
  const peak = largest(v.maps.flatMap((map) => map.tokens.map((i) => v.tokens[i].score)));
  const tools = div("tools",
    slider("Opacity", "Opacity of the patches, in percent", state.opacity, (opacity) => set({ opacity })),
    toggle("Grid", state.grid, (grid) => set({ grid })),
    chooser("Lay over the image", "The image, from a file", "image/*", (file) => ((picture = URL.createObjectURL(file)), set({}))),
  );
  return section("Patches", v.maps.length === 1 && tools, div(v.maps.length > 1 ? "maps" : "", v.maps.map((map) => patchesOf(v, map, state, links, peak))), legend(peak, v.places));
}

function patchesOf(v, { name, rows, columns, tokens, written }, state, links, peak) {
  const shown = v.maps.length === 1 && picture, opacity = shown ? state.opacity : 1;
  const cells = tokens.map((token, i) => {
    const { score } = v.tokens[token], named = `${name} row ${Math.floor(i / columns) + 1}, column ${(i % columns) + 1}: ${signed(score, v.places)}`.trim();
    return links.add(h("span", { class: "link patch tint", order: token, role: "img", named, style: { ...tinted(strength(score, peak)), opacity } }), [token]);
  });
  const style = { "grid-template-columns": `repeat(${columns}, 1fr)`, "aspect-ratio": `${columns} / ${rows}` };
  return div("held", name && par("eyebrow role", `${name} ${written}`), h("div", { class: `patches${state.grid ? " ruled" : ""}`, style }, shown && h("img", { src: picture, alt: "" }), cells));
}
