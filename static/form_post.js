// The form_post response mode: sends the answer on as soon as the page is there. Without scripts the person presses the button.
document.getElementById("answer").submit();
