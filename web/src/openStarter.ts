// Puts a starter operation into GraphiQL's editors without losing what somebody has written there.

import { useEditorContext } from "@graphiql/react";
import { useCallback, useEffect } from "react";
import { flushSync } from "react-dom";
import type { Starter, StarterGroup } from "./starters";

export function useOpenStarter(groups: StarterGroup[]): (starter: Starter) => void {
  const editors = useEditorContext({ nonNull: true });
  return useCallback(
    (starter: Starter) => {
      const untouched = new Set(groups.flatMap((group) => group.starters.map((known) => known.query)));
      const written = editors.queryEditor?.getValue() ?? "";
      // A tab that holds nothing, or a starter as it came, may be reused; everything else is somebody's work.
      if (written.trim() !== "" && !untouched.has(written)) flushSync(() => editors.addTab());
      editors.queryEditor?.setValue(starter.query);
      editors.variableEditor?.setValue(starter.variables ? JSON.stringify(starter.variables, null, 2) : "");
      editors.responseEditor?.setValue("");
      editors.queryEditor?.focus();
    },
    [editors, groups],
  );
}

/** Long lines wrap: the sentences above the starters are there to be read without scrolling. */
export function useWrappedLines(): void {
  const { queryEditor } = useEditorContext({ nonNull: true });
  useEffect(() => queryEditor?.setOption("lineWrapping", true), [queryEditor]);
}
