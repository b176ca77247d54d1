# Shared by the steps' verifiers: Harbor uploads this directory before the step's own.

report_has() { grep -qx "$1" /srv/report.txt; }
