// Where GraphiQL keeps what it remembers. Looks (theme, open pane, sizes) last; tabs, variables and
// history end with the browser tab like the token, since a login's variables hold a password.

const LASTING = /^graphiql:(theme|visiblePlugin|\w*Flex)$/;

function placeOf(key: string): Storage {
  return LASTING.test(key) ? localStorage : sessionStorage;
}

export const explorerStorage = {
  getItem: (key: string): string | null => placeOf(key).getItem(key),
  setItem: (key: string, value: string): void => placeOf(key).setItem(key, value),
  removeItem: (key: string): void => placeOf(key).removeItem(key),
  // GraphiQL's "clear storage" forgets what it has written itself; the token has its own button.
  clear: (): void => {
    for (const place of [localStorage, sessionStorage]) {
      for (const key of Object.keys(place)) if (key.startsWith("graphiql:")) place.removeItem(key);
    }
  },
  get length(): number {
    return localStorage.length + sessionStorage.length;
  },
};

/** Nobody has chosen a side pane here yet. */
export function isFirstVisit(): boolean {
  return localStorage.getItem("graphiql:visiblePlugin") === null;
}
