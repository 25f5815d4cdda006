// The theme's print button: its inline handler is one that the pages'
// Content-Security-Policy would refuse.
document.addEventListener("click", ({ target }) => {
  if (target.closest(".btn-download-pdf-button")) window.print();
});
