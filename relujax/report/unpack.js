"use strict";
// Data and scripts that were packed, in their order. The policy allows the scripts by the hashes of what they are here.
(async () => {
  for (const block of document.querySelectorAll("script[data-packed]")) {
    const kind = block.dataset.packed;
    if (kind === "") continue;
    const bytes = Uint8Array.from(atob(block.textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const text = await new Response(stream).text();
    if (kind === "data") {
      block.textContent = text;
      continue;
    }
    const script = document.createElement("script");
    script.textContent = text;
    block.replaceWith(script);
  }
})();
