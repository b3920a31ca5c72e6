"""The lab's report from a student's own runs: tables and figures, comparison, pages."""
