// Calls to the server: JSON there and back, with the token of the page's address.

const token = new URLSearchParams(location.search).get("token") ?? "";
const tab = crypto.getRandomValues(new Uint32Array(2)).join("-");

/** What the server, or this page, says went wrong, in a sentence. */
export class Told extends Error {
  constructor({ type, message }) {
    super(message);
    this.type = type;
  }
}

export const role = (name) => document.querySelector(`[data-role="${name}"]`);
export const wrong = (message) => new Told({ type: "InputError", message });
export const quiet = (error) => error.name === "AbortError" || error.type === "Outdated";

/** The answer of a route. body: undefined to get it. purpose: a newer call of the same purpose stops an older one. */
export async function call(path, body, purpose = "", signal = undefined) {
  const headers = { authorization: `Bearer ${token}`, "x-client": purpose ? `${tab}/${purpose}` : "" };
  const how = body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) };
  let data;
  try {
    const answer = await fetch(path, { ...how, signal });
    data = await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Told({ type: "Unreachable", message: "The server does not answer. Is `pellucid app` still running?" });
  }
  if (data.error) throw new Told(data.error);
  return data;
}

/** Has the browser save a text as a file. */
export function download(name, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content]));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
