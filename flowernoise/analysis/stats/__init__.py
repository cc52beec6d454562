"""Intervals, paired tests and tolerated rates for several seeds measured on one test split."""

from flowernoise.analysis.stats.common import FLOOR as FLOOR
from flowernoise.analysis.stats.common import LEVEL as LEVEL
from flowernoise.analysis.stats.common import PhotosTested as PhotosTested
from flowernoise.analysis.stats.confidence import crossed_bootstrap as crossed_bootstrap
from flowernoise.analysis.stats.confidence import intervals as intervals
from flowernoise.analysis.stats.confidence import over_seeds as over_seeds
from flowernoise.analysis.stats.confidence import wilson as wilson
from flowernoise.analysis.stats.faults import fallen_runs as fallen_runs
from flowernoise.analysis.stats.faults import lost_classes as lost_classes
from flowernoise.analysis.stats.faults import must_be_predicted as must_be_predicted
from flowernoise.analysis.stats.paired import Paired as Paired
from flowernoise.analysis.stats.paired import crossed_test as crossed_test
from flowernoise.analysis.stats.paired import holm as holm
from flowernoise.analysis.stats.paired import mcnemar as mcnemar
from flowernoise.analysis.stats.paired import paired_tests as paired_tests
from flowernoise.analysis.stats.paired import sign_flip as sign_flip
from flowernoise.analysis.stats.rates import CensoredRate as CensoredRate
from flowernoise.analysis.stats.rates import RateEstimate as RateEstimate
from flowernoise.analysis.stats.rates import crossover as crossover
from flowernoise.analysis.stats.rates import tolerance as tolerance
from flowernoise.analysis.stats.resampling import resampled_means as resampled_means
from flowernoise.analysis.stats.rivals import worse_than_another as worse_than_another
from flowernoise.analysis.stats.student import student_quantile as student_quantile
from flowernoise.analysis.stats.student import student_two_sided as student_two_sided
