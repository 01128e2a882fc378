// Forms with changes that are not saved: nothing typed is dropped without a question.
// `Form` marks them in the document, so that dialogs and the router need not know them.
const UNSAVED = "form[data-unsaved]";

/** Whether something within `area` would be lost. */
export function hasUnsaved(area = document) {
  return area.querySelector(UNSAVED) !== null;
}

/** Return whether what is typed within `area` may be dropped; asks if there is any. */
export function mayDiscard(area = document) {
  if (!hasUnsaved(area)) return true;
  if (!confirm("There are changes that are not saved. Discard them?")) return false;
  // One question is enough, also if closing a dialog changes the address.
  for (const form of area.querySelectorAll(UNSAVED)) delete form.dataset.unsaved;
  return true;
}

addEventListener("beforeunload", (event) => {
  if (hasUnsaved()) event.preventDefault();
});
