// Numbers as the rest of Pellucid writes them: few digits, a true minus sign, a power of ten where all digits are 0.

function signed(value, digits = 3) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value), fixed = size.toFixed(Math.min(digits, 20));
  const written = Number(fixed) && size < 1e9 ? fixed : size.toExponential(0).replace(/e([+-])(\d)$/, "e$10$2");
  return (value > 0 ? "+" : "−") + written;
}

const plain = (value, digits = 3) => signed(value, digits).replace(/^\+/, "");

function percent(share) {
  if (!Number.isFinite(share)) return "–";
  if (share >= 0.9995 && share < 1) return ">99.9%";
  if (share > 0 && share < 0.0005) return "<0.1%";
  return (share < 0 ? "−" : "") + `${(100 * Math.abs(share)).toFixed(1)}%`;
}

const sum = (values) => values.reduce((total, value) => total + (value ?? 0), 0);
const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value ?? 0)), 0);
