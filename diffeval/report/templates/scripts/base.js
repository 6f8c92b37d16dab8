"use strict";
// What the scripts of the page share. This one runs before there is a page; the others begin once all of it is there.
const root = document.documentElement;
root.classList.add("js");
const ready = (begin) => document.addEventListener("DOMContentLoaded", begin);
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
const say = (text) => { document.getElementById("said").textContent = text; };
