"""The page: one HTML file that needs no network, and the same page served live.

page        put together, with page.css and page.js
chapters    a study's part of it
plots       where the page's plots come from; timeline, parallel: two that are larger
trialtable  its table of trials
closing     left beside the trials at a sweep's end
live_page   made anew at news, with live.js; server: for this machine's browser alone
"""
