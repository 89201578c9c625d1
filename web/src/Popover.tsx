// A button with a panel under it; Escape or a click elsewhere closes it.

import { useEffect, useRef, useState, type ReactNode } from "react";

interface Props {
  label: ReactNode;
  testId: string;
  children: (close: () => void) => ReactNode;
}

export function Popover({ label, testId, children }: Props) {
  const [open, setOpen] = useState(false);
  const frame = useRef<HTMLDivElement>(null);

  useEffect(() => {
    if (!open) return;
    const onPointer = (event: PointerEvent) => {
      if (!frame.current?.contains(event.target as Node)) setOpen(false);
    };
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape") setOpen(false);
    };
    document.addEventListener("pointerdown", onPointer);
    document.addEventListener("keydown", onKey);
    return () => {
      document.removeEventListener("pointerdown", onPointer);
      document.removeEventListener("keydown", onKey);
    };
  }, [open]);

  return (
    <div className="atrium-popover" ref={frame}>
      <button
        type="button"
        className="atrium-button"
        data-testid={testId}
        aria-expanded={open}
        aria-haspopup="dialog"
        onClick={() => setOpen(!open)}
      >
        {label} <span aria-hidden="true">▾</span>
      </button>
      {open && <div className="atrium-panel">{children(() => setOpen(false))}</div>}
    </div>
  );
}
