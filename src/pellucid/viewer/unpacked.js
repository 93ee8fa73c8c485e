// The explanations of a View that a page holds packed (render/packed.py): each is unpacked when first looked at.

function unpacked(view) {
  if (!view.packed) return view;
  const [first] = view.explanations, whole = (own) => lazily({ ...first, ...own }, { tokens: tokensIn, passages: passagesIn, layers: layersIn });
  const explanations = view.explanations.map(whole);
  const scores = (g) => {
    const at = columnsOf(explanations[g.explanations[0]]).map((column) => column.tokens[0]);
    return g.explanations.map((i, r) => valuesOf(explanations[i]).map((x, c) => (at[c] < g.until[r] ? x : null)));
  };
  const hops = view.hops && { ...view.hops, rows: view.hops.rows.map((row) => ({ ...row, scores: floats(row.scores, Float64Array) })) };
  return { ...view, explanations, both: view.both && whole(view.both), hops, generations: view.generations.map((g) => lazily({ ...g }, { scores })) };
}

function lazily(packed, makers) {
  for (const [name, make] of Object.entries(makers)) {
    let made;
    Object.defineProperty(packed, name, { enumerable: true, get: () => (made ??= make(packed)) });
  }
  return packed;
}

/** Numbers from the base64 of their bytes; null for what is not finite. */
function floats(text, Kind) {
  const found = new Kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  return Array.from(found, (x) => (Number.isFinite(x) ? x : null));
}

const steps = (packed) => (packed ? floats(packed[0], Int16Array).map((x) => x * packed[1]) : []);

/** What a matrix of explanations has: of each token, or of each sentence where the page has not all tokens. */
const columnsOf = (v) => (v.kept ? v.passages.flatMap((passage) => passage.sentences.filter((run) => run.tokens.length)) : v.tokens.map((t, i) => ({ name: t.text, tokens: [i] })));
const valuesOf = (v) => (v.kept ? steps(v.kept.sums) : v.tokens.map((t) => t.score));

function tokensIn({ pieces, scores, errors, single, kept }) {
  const at = kept && floats(kept.tokens, Uint32Array);
  const spread = (values) => at.reduce((found, i, k) => ((found[i] = values[k]), found), pieces.text.map((_, i) => (i < kept.until ? null : 0)));
  const [score, error] = kept ? [kept.scores, kept.errors].map((packed) => spread(steps(packed))) : [scores, errors].map((text) => floats(text, single ? Float32Array : Float64Array));
  const names = Object.keys(pieces);
  return score.map((x, i) => ({ ...Object.fromEntries(names.map((name) => [name, pieces[name][i]])), score: x, error: error[i] ?? null }));
}

function layersIn({ depths, boxed }) {
  return depths.map((layer) => {
    const [scores, five, bits] = [layer.scores, layer.quantiles, layer.entropy].map((text) => floats(text, Float32Array));
    const quantiles = [], entropy = []; // of the tokens that have them
    boxed.forEach((token, i) => ((quantiles[token] = five.slice(5 * i, 5 * i + 5)), (entropy[token] = bits[i])));
    return { ...layer, scores, quantiles, entropy };
  });
}

function passagesIn({ cuts, tokens, kept }) {
  const sums = steps(kept?.sums), errors = steps(kept?.sum_errors);
  let next = 0;
  return cuts.map(({ role, segment, text, ...levels }) => {
    const runs = (cut, whole) => {
      let at = 0, start = 0; // in UTF-16, and in characters
      return cut.map((of) => {
        const [length, ...own] = [of].flat(), run = text.slice(at, (at += Math.abs(length))), from = start;
        start += [...run].length;
        const pieces = own.map((i) => tokens[i]), total = (name) => (pieces.some((t) => t[name] === null) ? null : sum(pieces.map((t) => t[name])));
        const special = own.length > 0 && pieces.every((t) => t.special);
        const [score, error] = whole && own.length ? [sums[next], errors[next++] ?? null] : [total("score"), total("error")];
        return { text: run, start: from, end: start, tokens: own, label: run || (pieces[0]?.text ?? ""), score, error, special, unread: length < 0 };
      });
    };
    return { role, segment, text, ...Object.fromEntries(Object.entries(levels).map(([level, cut]) => [level, runs(cut, kept && level === "sentences")])) };
  });
}

const textsOf = (e) => (e.cuts ?? e.passages).map((passage) => passage.text);
