"""Intervals, paired tests and tolerated rates of what several seeds measure on one test split."""

from flowernoise.analysis.statistics.common import FLOOR as FLOOR
from flowernoise.analysis.statistics.common import LEVEL as LEVEL
from flowernoise.analysis.statistics.confidence import crossed_bootstrap as crossed_bootstrap
from flowernoise.analysis.statistics.confidence import intervals as intervals
from flowernoise.analysis.statistics.confidence import over_seeds as over_seeds
from flowernoise.analysis.statistics.confidence import wilson as wilson
from flowernoise.analysis.statistics.faults import fallen_runs as fallen_runs
from flowernoise.analysis.statistics.faults import lost_classes as lost_classes
from flowernoise.analysis.statistics.faults import must_be_predicted as must_be_predicted
from flowernoise.analysis.statistics.paired import Paired as Paired
from flowernoise.analysis.statistics.paired import crossed_test as crossed_test
from flowernoise.analysis.statistics.paired import holm as holm
from flowernoise.analysis.statistics.paired import mcnemar as mcnemar
from flowernoise.analysis.statistics.paired import paired_tests as paired_tests
from flowernoise.analysis.statistics.paired import sign_flip as sign_flip
from flowernoise.analysis.statistics.rates import CensoredRate as CensoredRate
from flowernoise.analysis.statistics.rates import RateEstimate as RateEstimate
from flowernoise.analysis.statistics.rates import crossover as crossover
from flowernoise.analysis.statistics.rates import tolerance as tolerance
from flowernoise.analysis.statistics.resampling import resampled_means as resampled_means
from flowernoise.analysis.statistics.rivals import worse_than_another as worse_than_another
from flowernoise.analysis.statistics.student import student_quantile as student_quantile
from flowernoise.analysis.statistics.student import student_two_sided as student_two_sided
