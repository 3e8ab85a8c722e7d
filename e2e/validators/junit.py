# SPDX-License-Identifier: Apache-2.0
# Reads JUnit files with junitparser and prints for each: tests, failures, errors, skipped, as it counts them in the cases.
import sys
from junitparser import Error, Failure, JUnitXml, Skipped

for name in sys.argv[1:]:
    tests, kinds = 0, {Failure: 0, Error: 0, Skipped: 0}
    xml = JUnitXml.fromfile(name)
    for suite in xml:
        for case in suite:
            tests += 1
            for result in case.result:
                kinds[type(result)] += 1
    assert (xml.tests, xml.failures, xml.errors, xml.skipped) == (tests, *kinds.values()), name
    print(tests, *kinds.values())
